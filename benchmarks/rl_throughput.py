"""Speed of whole RL iterations compared with TRL's RLOOTrainer and GRPOTrainer, with the same weights and lengths.

    pip install -e ".[bench]"
    python benchmarks/rl_throughput.py

An iteration samples --samples responses to each of --prompts prompts, scores them with a reward model of the same
shape, computes the log-probabilities of policy and reference, and updates the policy once. Responses have no end, so
all have --new tokens. Every trainer has a reference (TRL's GRPOTrainer has none by default, here `beta=0.05`), one
update in an iteration and no minibatches. In bfloat16 the policy has float32 weights and computes in bfloat16 (TRL:
autocast); the reward model has bfloat16 weights. The contenders are worker processes that take turns.

Columns: responses per second; the ratio of rates, computed round by round, with its extremes; seconds of the phases:
sampling, scoring (the reward model, and log-probabilities of policy and reference), update. Figures are medians over
rounds. Prints a Markdown table and writes it as JSON to --output. The weights are random; they are written once under
--shapes_dir.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from harness import OURS, Contender, device_peak, markdown, median, ratio, serve, take_turns, torch_peak, write_results
from shapes import write_language_model, write_word_classifier

Spec = dict[str, Any]

PHASES = ("sampling", "scoring", "update")
BETA = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="pythia-70m")
    parser.add_argument("--algorithms", default="rloo,grpo")
    parser.add_argument("--dtypes", default="float32,bfloat16")
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--prompt", type=int, default=128, help="tokens of a prompt")
    parser.add_argument("--new", type=int, default=64, help="tokens of a response")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--devices", type=int, default=0, help="devices of rmjax; 0: all")
    parser.add_argument("--shapes_dir", type=Path, default=Path(tempfile.gettempdir()) / "rmjax-shapes")
    parser.add_argument("--output", type=Path, default=Path("rl_throughput.json"))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        spec = json.loads(arguments.worker)
        return {"rmjax": rmjax_worker, "TRL": trl_worker}[spec["contender"]](spec)
    policy = arguments.shapes_dir / f"{arguments.shape}-lm"
    write_language_model(arguments.shape, policy)
    rows: list[dict[str, Any]] = []
    for dtype in arguments.dtypes.split(","):
        reward = arguments.shapes_dir / f"{arguments.shape}-words-{dtype}"
        write_word_classifier(arguments.shape, reward, dtype)
        for algorithm in arguments.algorithms.split(","):
            names = ("prompts", "samples", "prompt", "new", "devices", "rounds")
            spec = {name: getattr(arguments, name) for name in names}
            spec |= {"dtype": dtype, "algorithm": algorithm, "policy": str(policy), "reward": str(reward)}
            rows += compare(spec, arguments.rounds)
            write_results(arguments.output, rows)
            print(markdown(rows) + "\n", flush=True)


def compare(spec: Spec, rounds: int) -> list[dict[str, Any]]:
    """Returns the rows of one algorithm in one precision."""
    contenders = {
        name: Contender(__file__, {**spec, "contender": name, "environment": OURS if name == "rmjax" else {}})
        for name in ("rmjax", "TRL")
    }
    results = take_turns(contenders, rounds)
    memory = {name: contender.close()["memory"] for name, contender in contenders.items()}
    faster = "{:.2f} ({:.2f} to {:.2f})".format(*ratio(results["rmjax"], results["TRL"], "rate"))
    return [
        {
            "algorithm": spec["algorithm"],
            "precision": spec["dtype"],
            "trainer": name,
            "responses/s": f"{median(results[name], 'rate'):.2f}",
            "of TRL": faster if name == "rmjax" else "",
            **{f"{phase}, s": f"{median(results[name], phase):.2f}" for phase in PHASES},
            "memory, GB": f"{memory[name]:.2f}",
        }
        for name in contenders
    ]


def report(spec: Spec, total: float, sampling: float, update: float) -> dict[str, float]:
    """Returns the figures of an iteration of `total` seconds."""
    responses = spec["prompts"] * spec["samples"]
    return {"rate": responses / total, "sampling": sampling, "scoring": total - sampling - update, "update": update}


def random_prompts(spec: Spec, rounds: int) -> np.ndarray:
    """Returns ids `[rounds, prompts, prompt] int32` of words; the first ids are special tokens."""
    shape = (rounds, spec["prompts"], spec["prompt"])
    return np.random.default_rng(0).integers(10, 50_000, shape, dtype=np.int32)


def rmjax_worker(spec: Spec) -> None:
    """Runs iterations with `Learner`, on devices as the scripts have them."""
    state: dict[str, Any] = {"step": 0}

    def start() -> dict[str, Any]:
        from rmjax.cli.runtime import prepare_process

        prepare_process()
        import jax
        import jax.numpy as jnp

        from rmjax.models.pretrained import open_pretrained
        from rmjax.models.sampling import Sampler
        from rmjax.models.token_choice import SamplingSettings
        from rmjax.models.transformer import parameter_shapes
        from rmjax.parallel.layout import make_layout
        from rmjax.rlhf.actor_critic import ActorCritic, policy_apply
        from rmjax.rlhf.algorithm import AlgorithmConfig
        from rmjax.rlhf.iteration import Learner
        from rmjax.rlhf.kl import KLConfig
        from rmjax.rlhf.policy import PolicyLossConfig
        from rmjax.rlhf.rewards import RewardTerm, sparse
        from rmjax.rlhf.rollout import sample_with
        from rmjax.rlhf.scores import from_model, of_responses
        from rmjax.scoring.checkpoint import load
        from rmjax.training.optimizer import OptimizerConfig, make_optimizer
        from rmjax.training.step import TrainState

        layout, dtype = make_layout(layout="pmap", devices=spec["devices"]), jnp.dtype(spec["dtype"])
        reward = load(spec["reward"], devices=spec["devices"])
        pretrained = open_pretrained(spec["policy"])
        model = ActorCritic(pretrained.config, dtype)
        params, _ = pretrained.load(parameter_shapes(model))
        optimizer, _ = make_optimizer(
            OptimizerConfig(
                learning_rate=1e-6,
                warmup_ratio=0.0,
                warmup_steps=0,
                final_ratio=1.0,
                b1=0.9,
                b2=0.999,
                eps=1e-8,
                weight_decay=0.0,
                clip_norm=1.0,
                moment_dtype="float32",
            ),
            1000,
        )
        reference = layout.device_put(jax.tree.map(jnp.copy, params))
        sampler = Sampler(pretrained.config, dtype, layout, SamplingSettings(max_response=spec["new"]))
        state["learner"] = Learner(
            AlgorithmConfig(
                name=spec["algorithm"],
                samples=spec["samples"],
                kl=KLConfig(coef=BETA),
                loss=PolicyLossConfig(value_coef=0.0),
                max_gap=0.1,
            ),
            apply=policy_apply(model),
            reference=reference,
            optimizer=optimizer,
            layout=layout,
            sample=sample_with(sampler, seed=0),
            decode=lambda ids: reward.tokenizer.decode_response(ids.tolist()),
            rewards=[RewardTerm("model", sparse(of_responses(from_model(reward))))],
            seed=0,
        )
        first = TrainState(jnp.zeros((), jnp.int32), params, layout.jit_init(optimizer.init, params))
        state["train"] = layout.device_put(first)
        state["decode"] = reward.tokenizer.hf.decode
        state["prompts"] = random_prompts(spec, spec["rounds"] + 2)
        for _ in range(2):  # not counted; the first one compiles
            one_round()
        return {}

    def one_round() -> dict[str, float]:
        import jax

        from rmjax.data.comparisons import Message

        ids = list(state["prompts"][state["step"]])
        prompts = [(Message("user", state["decode"](each.tolist())),) for each in ids]
        began = time.perf_counter()
        found = state["learner"].run(state["train"], BETA, prompts, ids, state["step"])
        jax.block_until_ready(found.state)
        state["train"], state["step"] = found.state, state["step"] + 1
        total = time.perf_counter() - began
        return report(spec, total, found.metrics["seconds_sampling"], found.metrics["seconds_update"])

    serve(start, one_round, device_peak)


def trl_worker(spec: Spec) -> None:
    """Runs iterations with TRL's trainer in a thread that waits between its steps."""
    import threading
    from queue import Queue

    asked: Any = Queue()
    answered: Any = Queue()

    def start() -> dict[str, Any]:
        threading.Thread(target=train_with_trl, args=(spec, asked, answered), daemon=True).start()
        answered.get()
        return {}

    def one_round() -> dict[str, float]:
        asked.put("round")
        return answered.get()

    serve(start, one_round, torch_peak)


def train_with_trl(spec: Spec, asked: Any, answered: Any) -> None:
    """Trains with TRL: a step for each request, after a first one that is not asked for."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

    trainer_class, config_class = {"rloo": (RLOOTrainer, RLOOConfig), "grpo": (GRPOTrainer, GRPOConfig)}[
        spec["algorithm"]
    ]
    seconds = {"sampling": 0.0, "before": 0.0}

    def wait_for_device() -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    class Timed(trainer_class):
        """Measures the seconds of sampling, and of everything before the update."""

        def _generate_single_turn(self, *given: Any, **named: Any) -> Any:
            began = time.perf_counter()
            found = super()._generate_single_turn(*given, **named)
            wait_for_device()
            seconds["sampling"] = time.perf_counter() - began
            return found

        def _generate_and_score_completions(self, *given: Any, **named: Any) -> Any:
            began = time.perf_counter()
            found = super()._generate_and_score_completions(*given, **named)
            wait_for_device()
            seconds["before"] = time.perf_counter() - began
            return found

    class Turns(TrainerCallback):
        """Waits before every step except the first; reports the end of each step."""

        began = 0.0

        def on_step_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
            if state.global_step:
                asked.get()
            self.began = time.perf_counter()

        def on_step_end(self, _args: Any, _state: Any, _control: Any, **_: Any) -> None:
            wait_for_device()
            total = time.perf_counter() - self.began
            answered.put(report(spec, total, seconds["sampling"], total - seconds["before"]))

    tokenizer = AutoTokenizer.from_pretrained(spec["reward"])
    ids = random_prompts(spec, spec["rounds"] + 1).reshape(-1, spec["prompt"])
    responses = spec["prompts"] * spec["samples"]
    config = config_class(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=responses,
        steps_per_generation=1,
        num_generations=spec["samples"],
        max_completion_length=spec["new"],
        generation_kwargs={"min_new_tokens": spec["new"]},
        max_steps=spec["rounds"] + 1,
        learning_rate=1e-6,
        beta=BETA,
        top_k=0,
        bf16=spec["dtype"] == "bfloat16",
        gradient_checkpointing=False,
        model_init_kwargs={"dtype": "float32"},
        logging_steps=1000,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
    )
    trainer = Timed(
        model=spec["policy"],
        reward_funcs=AutoModelForSequenceClassification.from_pretrained(
            spec["reward"], dtype=getattr(torch, spec["dtype"])
        ),
        args=config,
        train_dataset=Dataset.from_dict({"prompt": [tokenizer.decode(each) for each in ids]}),
        processing_class=tokenizer,
        reward_processing_classes=tokenizer,
        callbacks=[Turns()],
    )
    trainer.train()


if __name__ == "__main__":
    main()
