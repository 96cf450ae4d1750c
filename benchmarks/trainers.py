"""Contenders of train_throughput.py: workers that train with rmjax and with TRL's RewardTrainer."""

from __future__ import annotations

import tempfile
import time
from typing import Any

from harness import device_peak, matmul_peak, serve, torch_peak

Spec = dict[str, Any]

LIMITS = {"max_prompt": 320, "max_response": 191}


def load_examples(spec: Spec) -> tuple[Any, list[Any]]:
    """Returns the tokenizer, and the pairs as `Example`s, which every contender trains on."""
    from rmjax.data.examples import PairRule, encode_comparisons
    from rmjax.data.pretrained_tokenizer import open_tokenizer
    from rmjax.data.sources import load_comparisons

    tokenizer = open_tokenizer(spec["folder"], template="transcript", **LIMITS)
    comparisons = load_comparisons(f"jsonl:{spec['data']}", "train", manual_dir="")[: spec["pairs"]]
    return tokenizer, encode_comparisons(comparisons, tokenizer, ("reward",), PairRule())


def work(trunk: Any, texts: list[tuple[int, int]]) -> tuple[int, float]:
    """Returns tokens, and FLOPs of a forward and a backward pass, of texts given as (own tokens, tokens seen before).

    A prompt that is computed once is one text. Each of its responses is another text, which sees the prompt.
    """
    c = trunk
    weights = c.layers * (
        c.width * c.head_dim * (2 * c.heads + 2 * c.kv_heads) + (3 if c.gated else 2) * c.width * c.mlp_width
    )
    tokens = sum(own for own, _ in texts)
    seen = sum(own * before + own * own / (2 if c.causal else 1) for own, before in texts)
    return tokens, 6.0 * weights * tokens + 12.0 * c.layers * c.heads * c.head_dim * seen


def rmjax_worker(spec: Spec) -> None:
    """Trains with rmjax; `unshared` repeats every prompt."""
    state: dict[str, Any] = {}

    def start() -> dict[str, Any]:
        from rmjax.cli.runtime import prepare_process

        prepare_process()
        import jax
        import jax.numpy as jnp

        from rmjax.data.loader import BatchStream
        from rmjax.models.attention import uses_dense_attention
        from rmjax.models.config import default_head
        from rmjax.models.pretrained import open_pretrained
        from rmjax.models.reward import RewardTransformer
        from rmjax.models.transformer import parameter_shapes
        from rmjax.parallel.layout import make_layout
        from rmjax.training.objectives import LossConfig, ranking_objective
        from rmjax.training.optimizer import OptimizerConfig, make_optimizer
        from rmjax.training.step import init_state, make_train_step

        _, examples = load_examples(spec)
        checkpoint = open_pretrained(spec["folder"], "")
        trunk = checkpoint.config
        model = RewardTransformer(trunk, default_head(("reward",), trunk), jnp.dtype(spec["dtype"]), spec["remat"])
        shapes = parameter_shapes(model)
        params, _ = checkpoint.load(shapes, heads=("reward",), dtype=lambda path: jnp.dtype("float32"))
        layout = make_layout(layout="pmap", devices=0)
        shared = trunk.causal and spec["trainer"] == "rmjax"
        stream = BatchStream(
            examples,
            batch_size=spec["batch_size"],
            epochs=spec["rounds"] + 1,
            row_length=0,
            single_row=not uses_dense_attention(),
            microbatches=spec["microbatches"],
            shards=layout.shards,
            seed=0,
            share_prompts=shared,
        )
        optimizer, _ = make_optimizer(
            OptimizerConfig(
                learning_rate=1e-5,
                warmup_ratio=0.0,
                warmup_steps=0,
                final_ratio=0.1,
                b1=0.9,
                b2=0.95,
                eps=1e-8,
                weight_decay=0.0,
                clip_norm=1.0,
                moment_dtype="float32",
            ),
            len(stream),
        )
        loss = LossConfig()
        objective = ranking_objective(lambda p, batch: model.apply({"params": p}, batch), loss)
        step = make_train_step(objective, optimizer, layout)
        train = layout.device_put(init_state(params, optimizer))
        del params
        train, metrics = step(train, stream[0])
        jax.block_until_ready(metrics)
        texts = []
        for e in examples:
            prompt, responses = len(e.prompt), [len(r) for r in e.responses]
            texts += (
                [(prompt, 0), *((r, prompt) for r in responses)] if shared else [(prompt + r, 0) for r in responses]
            )
        tokens, flops = work(trunk, texts)
        state.update(train=train, step=step, stream=stream, epoch=0, tokens=tokens, flops=flops, examples=examples)
        padding = stream.statistics()["padding"]
        state["peak"] = matmul_peak(spec["dtype"]) * (layout.shards if jax.default_backend() != "cpu" else 1)
        return {"padding": padding, "peak": state["peak"]}

    def one_round() -> dict[str, Any]:
        import jax

        steps = len(state["stream"]) // (spec["rounds"] + 1)
        began = time.perf_counter()
        for batch in state["stream"].prefetch(state["epoch"] * steps, (state["epoch"] + 1) * steps):
            state["train"], metrics = state["step"](state["train"], batch)
        jax.block_until_ready(metrics)
        seconds = time.perf_counter() - began
        state["epoch"] += 1
        return rates(seconds, len(state["examples"]), state["tokens"], state["flops"])

    serve(start, one_round, device_peak)


def rates(seconds: float, pairs: int, tokens: int, flops: float) -> dict[str, float]:
    """Returns the rates of a round of `seconds`."""
    return {
        "seconds": seconds,
        "pairs_per_second": pairs / seconds,
        "tokens_per_second": tokens / seconds,
        "flops_per_second": flops / seconds,
    }


def trl_worker(spec: Spec) -> None:
    """Trains with TRL; each epoch is a round, and the trainer waits between rounds in a callback."""
    import threading
    from queue import Queue

    asked, answered = Queue(), Queue()

    def start() -> dict[str, Any]:
        threading.Thread(target=train_with_trl, args=(spec, asked, answered), daemon=True).start()
        return answered.get()

    def one_round() -> dict[str, Any]:
        asked.put("round")
        return answered.get()

    serve(start, one_round, torch_peak)


def train_with_trl(spec: Spec, asked: Any, answered: Any) -> None:
    """Trains with TRL on the ids of `load_examples`: the first step, then the rest of an epoch for each request."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification, TrainerCallback
    from trl import RewardConfig, RewardTrainer

    from rmjax.models.pretrained import open_pretrained

    tokenizer, examples = load_examples(spec)
    hf = tokenizer.hf
    hf.eos_token = hf.eos_token or hf.sep_token  # TRL refuses a tokenizer without EOS
    ids = [[[*e.prompt.tolist(), *r.tolist()] for r in e.responses] for e in examples]
    lengths = [[len(text) for text in texts] for texts in ids]
    parts = spec["microbatches"] if spec["trainer"] == "TRL-parts" else 1
    size = spec["batch_size"] // parts
    trunk = open_pretrained(spec["folder"], "").config
    tokens, flops = work(trunk, [(length, 0) for pair in lengths for length in pair])
    model = AutoModelForSequenceClassification.from_pretrained(spec["folder"], num_labels=1, dtype=torch.float32)
    config = RewardConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=size,
        gradient_accumulation_steps=parts,
        num_train_epochs=spec["rounds"] + 1,
        learning_rate=1e-5,
        max_length=512,
        bf16=spec["dtype"] == "bfloat16",
        gradient_checkpointing=spec["remat"] != "none",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    rows = [
        {"chosen_ids": pair[e.winner[0]], "rejected_ids": pair[e.loser[0]]}
        for e, pair in zip(examples, ids, strict=True)
    ]

    class Turns(TrainerCallback):
        """Waits after the first step and before every epoch except the first; reports the end of each epoch."""

        began = 0.0

        def wait(self) -> None:
            asked.get()
            self.began = time.perf_counter()

        def on_step_end(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
            if state.global_step == 1:
                # Padding of random batches: two texts a pair, each padded to the longest of the batch.
                batches = [lengths[i : i + size] for i in range(0, len(lengths), size)]
                longest = sum(max(map(max, batch)) * 2 * len(batch) for batch in batches)
                answered.put({"padding": 1 - tokens / longest, "peak": 0.0})
                self.wait()

        def on_epoch_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
            if state.global_step:
                self.wait()

        def on_epoch_end(self, _args: Any, _state: Any, _control: Any, **_: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            answered.put(rates(time.perf_counter() - self.began, len(examples), tokens, flops))

    trainer = RewardTrainer(
        model=model, args=config, train_dataset=Dataset.from_list(rows), processing_class=hf, callbacks=[Turns()]
    )
    trainer.train()
