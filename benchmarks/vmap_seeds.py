"""Speed of several seeds of a small model as one program (`vmap`), compared with one after another.

    python benchmarks/vmap_seeds.py --seeds=4

Both compute the training step of configs/helpful.py on the batches of the seeds, on one device. They take turns. The
ratio of seed-steps per second is printed with its extremes.
"""

from __future__ import annotations

import argparse
import json
import time

from harness import Contender, median, ratio, resident_peak, serve, take_turns

STEPS = 4


def work(spec: dict) -> None:
    """Runs one contender: `spec["seeds"]` seeds, together or in turn."""
    from rmjax.cli.runtime import prepare_process

    prepare_process()  # also adds `configs` to the path
    import jax
    import jax.numpy as jnp
    import numpy as np

    from configs import helpful
    from rmjax.data.bpe import train_bpe
    from rmjax.data.examples import PairRule, encode_comparisons
    from rmjax.data.gold import corpus as gold
    from rmjax.data.loader import BatchStream
    from rmjax.data.tokenizer import Tokenizer
    from rmjax.models.attention import uses_dense_attention
    from rmjax.models.config import TransformerConfig, default_head
    from rmjax.models.reward import RewardTransformer
    from rmjax.models.transformer import empty_batch
    from rmjax.training.objectives import LossConfig, ranking_objective
    from rmjax.training.optimizer import OptimizerConfig, make_optimizer
    from rmjax.training.step import init_state

    config = helpful.get_config("scratch").to_dict()
    batch_size = config["train"]["batch_size"]
    comparisons = gold.comparisons("helpful", "train", batch_size * STEPS)
    texts = [text for c in comparisons for text in (*c.responses, *(m.content for m in c.prompt))]
    tokenizer = Tokenizer(train_bpe(texts, config["tokenizer"]["vocab_size"]), max_prompt=320, max_response=191)
    examples = encode_comparisons(comparisons, tokenizer, ("helpful",), PairRule())
    trunk = {name: value for name, value in config["model"].items() if name != "compute_dtype"}
    trunk = TransformerConfig(vocab_size=tokenizer.vocab_size, **trunk)
    model = RewardTransformer(trunk, default_head(("helpful",), trunk), jnp.float32)
    optimizer, _ = make_optimizer(OptimizerConfig(**config["train"]["optimizer"]), 1000)
    objective = ranking_objective(lambda p, b: model.apply({"params": p}, b), LossConfig(**config["loss"]))
    streams = [
        BatchStream(
            examples,
            batch_size=batch_size,
            epochs=1,
            row_length=0,
            single_row=not uses_dense_attention(),
            seed=seed,
            shards=1,
        )
        for seed in range(spec["seeds"])
    ]

    def step(state: tuple, batch: object) -> tuple:
        params, opt_state = state
        grads, sums = jax.grad(objective, has_aux=True)(params, batch)
        grads = jax.tree.map(lambda g: g / sums["weight"], grads)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return jax.tree.map(jnp.add, params, updates), opt_state

    def start(seed: int) -> tuple:
        params = model.init(jax.random.key(seed), empty_batch())["params"]
        return params, init_state(params, optimizer).opt_state

    def batch(seed: int, number: int) -> object:
        return jax.tree.map(lambda x: x[0, 0], streams[seed][number])

    shapes = {tuple(x.shape for x in jax.tree.leaves(batch(seed, 0))) for seed in range(spec["seeds"])}
    if len(shapes) > 1:  # the seeds of one program must share one shape
        raise SystemExit(f"the seeds' batches have {len(shapes)} shapes: take another number of seeds")
    seeds = range(spec["seeds"])
    if spec["together"]:
        one = jax.jit(jax.vmap(step), donate_argnums=0)
        states = [jax.tree.map(lambda *x: jnp.stack(x), *map(start, seeds))]
        batches = [[jax.tree.map(lambda *x: np.stack(x), *(batch(s, n) for s in seeds))] for n in range(STEPS)]
    else:
        one = jax.jit(step, donate_argnums=0)
        states = [start(seed) for seed in seeds]
        batches = [[batch(seed, n) for seed in seeds] for n in range(STEPS)]

    def one_round() -> dict:
        began = time.perf_counter()
        for number in range(STEPS):
            for i, each in enumerate(batches[number]):
                states[i] = one(states[i], each)
        jax.block_until_ready(states)
        return {"rate": STEPS * len(seeds) / (time.perf_counter() - began)}

    serve(one_round, one_round, resident_peak)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker")
    arguments = parser.parse_args()
    if arguments.worker:
        return work(json.loads(arguments.worker))
    contenders = {
        name: Contender(__file__, {"seeds": arguments.seeds, "together": name == "together"})
        for name in ("together", "in turn")
    }
    results = take_turns(contenders, arguments.rounds)
    for name, contender in contenders.items():
        rate = median(results[name], "rate")
        print(f"{arguments.seeds} seeds {name}: {rate:.2f} seed-steps/s, {contender.close()['memory']:.2f} GB")
    middle, low, high = ratio(results["together"], results["in turn"], "rate")
    print(f"together / in turn: {middle:.2f} ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
