"""Sampling speed compared with transformers' `generate`, with the same weights, prompts, lengths and precision.

    pip install -e ".[bench]"
    python benchmarks/generate_throughput.py

A round samples --new tokens for 64 prompts (fresh), and 64 samples of one prompt (shared), at temperature 1 from the
whole vocabulary, without an end. A rate is new tokens per second, the forward pass of the prompts included. The
contenders are worker processes that take turns. `of the matmul bound` divides the time that the matrix products of a
round take at the rate of a large product by the time of the round: prompts and new tokens, without attention.

Prints a Markdown table and writes it as JSON to --output. Rates are medians over rounds. Ratios are computed round by
round and printed with their extremes. The weights are random; they are written once under --shapes_dir.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from harness import (
    OURS,
    Contender,
    device_peak,
    markdown,
    matmul_peak,
    median,
    ratio,
    serve,
    take_turns,
    torch_peak,
    write_results,
)
from shapes import LANGUAGE_MODELS, write_language_model

Spec = dict[str, Any]

NAMES = ("rmjax", "transformers")
WORKLOADS = ("fresh", "shared")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default=",".join(LANGUAGE_MODELS))
    parser.add_argument("--dtypes", default="float32,bfloat16")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--devices", type=int, default=0, help="devices of rmjax; 0: all")
    parser.add_argument("--shapes_dir", type=Path, default=Path(tempfile.gettempdir()) / "rmjax-shapes")
    parser.add_argument("--output", type=Path, default=Path("generate_throughput.json"))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        spec = json.loads(arguments.worker)
        return {"rmjax": rmjax_worker, "transformers": transformers_worker}[spec["contender"]](spec)
    rows: list[dict[str, Any]] = []
    for shape in arguments.shapes.split(","):
        folder = arguments.shapes_dir / f"{shape}-lm"
        write_language_model(shape, folder)
        for dtype in arguments.dtypes.split(","):
            spec = {name: getattr(arguments, name) for name in ("batch", "prompt", "new", "devices")}
            rows += compare({**spec, "shape": shape, "dtype": dtype, "folder": str(folder)}, arguments.rounds)
            write_results(arguments.output, rows)
            print(markdown(rows) + "\n", flush=True)


def compare(spec: Spec, rounds: int) -> list[dict[str, Any]]:
    """Returns the rows of one shape in one precision."""
    contenders = {
        name: Contender(__file__, {**spec, "contender": name, "environment": OURS if name == "rmjax" else {}})
        for name in NAMES
    }
    results = take_turns(contenders, rounds)
    memory = {name: contender.close()["memory"] for name, contender in contenders.items()}
    facts = contenders["rmjax"].facts
    rows = []
    for load in WORKLOADS:
        faster = ratio(results["rmjax"], results["transformers"], load)
        bound = {"fresh": facts["fresh_bound"], "shared": facts["shared_bound"]}[load]
        rows.append(
            {
                "shape": spec["shape"],
                "precision": spec["dtype"],
                "prompts": f"{spec['batch']} x 1" if load == "fresh" else f"1 x {spec['batch']}",
                **{f"{name}, tokens/s": f"{median(results[name], load):.0f}" for name in NAMES},
                "rmjax is faster by": "{:.2f} ({:.2f} to {:.2f})".format(*faster),
                "of the matmul bound": f"{median(results['rmjax'], load) / bound:.0%}",
                "memory, GB": " / ".join(f"{memory[name]:.2f}" for name in NAMES),
            }
        )
    return rows


def random_prompts(spec: Spec, vocab: int) -> np.ndarray:
    """Returns ids `[batch, prompt] int32`."""
    return np.random.default_rng(0).integers(0, vocab, (spec["batch"], spec["prompt"]), dtype=np.int32)


def rmjax_worker(spec: Spec) -> None:
    """Samples with `Sampler`, on devices as the scripts have them."""
    state: dict[str, Any] = {"step": 0}

    def rate(prompts: Any, n: int) -> float:
        state["step"] += 1
        began = time.perf_counter()
        samples = state["sampler"](state["params"], prompts, n, seed=0, step=state["step"])
        seconds = time.perf_counter() - began
        return sum(len(ids) for of_prompt in samples for ids in of_prompt.ids) / seconds

    def one_round() -> dict[str, float]:
        prompts = list(state["prompts"])
        return {"fresh": rate(prompts, 1), "shared": rate(prompts[:1], spec["batch"])}

    def start() -> dict[str, Any]:
        from rmjax.cli.runtime import prepare_process

        prepare_process()
        import jax
        import jax.numpy as jnp

        from rmjax.models.pretrained import open_pretrained
        from rmjax.models.sampling import Sampler
        from rmjax.models.token_choice import SamplingSettings
        from rmjax.models.transformer import LanguageModel, parameter_shapes
        from rmjax.parallel.layout import make_layout

        layout, dtype = make_layout(layout="pmap", devices=spec["devices"]), jnp.dtype(spec["dtype"])
        pretrained = open_pretrained(spec["folder"])
        params, _ = pretrained.load(parameter_shapes(LanguageModel(pretrained.config, dtype)))
        # Matrices multiply every token of prompts and samples, but the output layer only the last one of a prompt.
        blocks = sum(leaf.size for leaf in jax.tree.leaves(params["trunk"]["blocks"]))
        head = pretrained.config.vocab_size * pretrained.config.width
        per_second = matmul_peak(spec["dtype"], size=2048)
        samples = spec["batch"]

        def bound(prompts: int) -> float:
            products = 2 * (blocks * (prompts * spec["prompt"] + samples * spec["new"]) + head * samples * spec["new"])
            return samples * spec["new"] * per_second / products

        state.update(
            params=layout.device_put(params),
            prompts=random_prompts(spec, pretrained.config.vocab_size),
            sampler=Sampler(pretrained.config, dtype, layout, SamplingSettings(max_response=spec["new"])),
        )
        one_round()
        return {"fresh_bound": bound(samples), "shared_bound": bound(1)}

    serve(start, one_round, device_peak)


def transformers_worker(spec: Spec) -> None:
    """Samples with `generate` of transformers, its settings at their defaults."""
    state: dict[str, Any] = {}

    def rate(prompts: Any, n: int) -> float:
        import torch

        began = time.perf_counter()
        found = state["model"].generate(
            prompts,
            attention_mask=torch.ones_like(prompts),
            do_sample=True,
            temperature=1.0,
            top_k=0,
            min_new_tokens=spec["new"],
            max_new_tokens=spec["new"],
            num_return_sequences=n,
            pad_token_id=0,
        )
        if found.is_cuda:
            torch.cuda.synchronize()
        return (found.shape[1] - prompts.shape[1]) * len(found) / (time.perf_counter() - began)

    def one_round() -> dict[str, float]:
        return {"fresh": rate(state["prompts"], 1), "shared": rate(state["prompts"][:1], spec["batch"])}

    def start() -> dict[str, Any]:
        import torch
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(spec["folder"], dtype=getattr(torch, spec["dtype"])).eval()
        model.to("cuda" if torch.cuda.is_available() else "cpu")
        prompts = torch.from_numpy(random_prompts(spec, model.config.vocab_size)).long().to(model.device)
        state.update(model=model, prompts=prompts)
        one_round()
        return {}

    serve(start, one_round, torch_peak)


if __name__ == "__main__":
    main()
