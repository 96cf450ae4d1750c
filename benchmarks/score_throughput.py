"""Scoring speed compared with transformers' text-classification pipeline, with the same weights, texts and precision.

    pip install -e ".[bench]"
    python benchmarks/score_throughput.py --tokenizer=MINILM --data=PAIRS.jsonl.gz

Measures from texts to scores, including tokenization. A round scores both responses of --pairs pairs. The contenders
take turns. They are `RewardModel.score`; the pipeline with its defaults, at batch size 16; and the pipeline on texts
sorted by length, at the best of several batch sizes, which the worker finds first. Decoders are also measured on
best-of-n: n answers to one prompt with `score`, compared with the same full texts packed, each with a copy of the
prompt. The ideal ratio is that of the tokens.

Prints Markdown tables and writes them as JSON to --output. Rates are medians over rounds. Ratios are computed round by
round and printed with their extremes. The weights are random; they are written once under --shapes_dir.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from harness import OURS, Contender, markdown, median, ratio, resident_peak, serve, take_turns, write_results
from shapes import SHAPES, write_shape

Spec = dict[str, Any]

LIMITS = {"max_prompt": 320, "max_response": 191}
BATCH_SIZES = (4, 8, 16, 32, 64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--shapes", default="minilm,pythia-70m", help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--dtypes", default="float32,bfloat16")
    parser.add_argument("--pairs", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--best_of", type=int, default=64)
    parser.add_argument("--shapes_dir", type=Path, default=Path(tempfile.gettempdir()) / "rmjax-shapes")
    parser.add_argument("--output", type=Path, default=Path("score_throughput.json"))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        spec = json.loads(arguments.worker)
        return {"rmjax": rmjax_worker, "best_of": best_of_worker}.get(spec["contender"], pipeline_worker)(spec)
    tables: dict[str, list[dict[str, Any]]] = {"pairs": [], "best_of": []}
    for shape in arguments.shapes.split(","):
        write_shape(shape, arguments.shapes_dir / shape, arguments.tokenizer)
        for dtype in arguments.dtypes.split(","):
            spec = {
                "shape": shape,
                "dtype": dtype,
                "folder": str(arguments.shapes_dir / shape),
                "data": str(arguments.data),
                "pairs": arguments.pairs,
                "best_of": arguments.best_of,
            }
            tables["pairs"] += compare(spec, arguments.rounds)
            if shape != "minilm" and arguments.best_of:
                tables["best_of"] += compare_best_of(spec, arguments.rounds)
            write_results(arguments.output, tables)
            for rows in filter(None, tables.values()):
                print(markdown(rows) + "\n", flush=True)


def compare(spec: Spec, rounds: int) -> list[dict[str, Any]]:
    """Returns the rows of one shape in one precision."""
    names = ("rmjax", "pipeline, batches of 16", "pipeline, sorted, best batch")
    contenders = {
        name: Contender(__file__, {**spec, "contender": name, "environment": OURS if name == "rmjax" else {}})
        for name in names
    }
    results = take_turns(contenders, rounds)
    rows = []
    for name, contender in contenders.items():
        last = contender.close()
        against = (
            ""
            if name == "rmjax"
            else "{:.2f} ({:.2f} to {:.2f})".format(*ratio(results["rmjax"], results[name], "pairs_per_second"))
        )
        rows.append(
            {
                "shape": spec["shape"],
                "precision": spec["dtype"],
                "scored by": name + contender.facts.get("note", ""),
                "pairs/s": f"{median(results[name], 'pairs_per_second'):.1f}",
                "rmjax is faster by": against,
                "memory, GB": f"{last['memory']:.2f}",
            }
        )
    return rows


def compare_best_of(spec: Spec, rounds: int) -> list[dict[str, Any]]:
    """Returns the row of best-of-n; both ways take turns in one worker."""
    contender = Contender(__file__, {**spec, "contender": "best_of", "environment": OURS})
    results = [contender.round() for _ in range(rounds)]
    contender.close()
    facts = contender.facts
    ratios = [row["separate"] / row["together"] for row in results]
    return [
        {
            "shape": spec["shape"],
            "precision": spec["dtype"],
            "n": spec["best_of"],
            "prompt / response, tokens": f"{facts['prompt']} / {facts['response']:.0f}",
            "prompt once, s": f"{median(results, 'together'):.2f}",
            "packed full texts, s": f"{median(results, 'separate'):.2f}",
            "ratio": f"{np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
            "ideal": f"{facts['ideal']:.2f}",
            "of the ideal": f"{np.median(ratios) / facts['ideal']:.0%}",
        }
    ]


def load_texts(spec: Spec) -> list[Any]:
    """Returns the comparisons whose responses are scored."""
    from rmjax.data.sources import load_comparisons

    return load_comparisons(f"jsonl:{spec['data']}", "train", manual_dir="")[: spec["pairs"]]


def open_model(spec: Spec) -> Any:
    """Returns the random checkpoint as a `RewardModel` on all devices, as the scripts open one."""
    from rmjax.cli.runtime import prepare_process

    prepare_process()
    from rmjax.parallel.layout import make_layout
    from rmjax.scoring.hub import load_classifier
    from rmjax.scoring.reward_model import RewardModel

    layout = make_layout(layout="pmap")
    model = load_classifier(Path(spec["folder"]), layout, template="transcript", **LIMITS)
    contract = dataclasses.replace(model.contract, compute_dtype=spec["dtype"])
    return RewardModel(model.params, contract, model.tokenizer, layout)


def rmjax_worker(spec: Spec) -> None:
    """Scores with `RewardModel.raw`, as experiments/score.py does."""
    state: dict[str, Any] = {}

    def one_round() -> dict[str, Any]:
        began = time.perf_counter()
        state["model"].raw(state["prompts"], state["responses"])
        return {"pairs_per_second": len(state["prompts"]) / (time.perf_counter() - began)}

    def start() -> dict[str, Any]:
        comparisons = load_texts(spec)
        state.update(
            model=open_model(spec),
            prompts=[c.prompt for c in comparisons],
            responses=[c.responses for c in comparisons],
        )
        one_round()
        return {}

    serve(start, one_round, resident_peak)


def best_of_worker(spec: Spec) -> None:
    """Scores n responses to one prompt, with the prompt computed once and with a copy for each response."""
    state: dict[str, Any] = {}

    def once(share: bool) -> float:
        scorer = state["model"].forward.scores
        scorer._share_prompts = share
        began = time.perf_counter()
        state[share] = scorer(state["model"].params, [state["example"]])[0]
        return time.perf_counter() - began

    def start() -> dict[str, Any]:
        model, comparisons = open_model(spec), load_texts(spec)  # first, because jax reads its settings on import

        from rmjax.data.batch import Example
        from rmjax.data.examples import encode_groups

        # A prompt of typical length, and answers from all over the data.
        prompts, responses = encode_groups(
            [c.prompt for c in comparisons], [c.responses for c in comparisons], model.tokenizer
        )
        prompt = sorted((p.ids for p in prompts), key=len)[len(prompts) // 2]
        answers = [response.ids for group in responses for response in group][: spec["best_of"]]
        state.update(model=model, example=Example(prompt, tuple(answers)))
        once(True), once(False)
        np.testing.assert_allclose(state[True], state[False], atol=0.1 if spec["dtype"] == "bfloat16" else 1e-4)
        total, n = sum(map(len, answers)), len(answers)
        return {
            "prompt": len(prompt),
            "response": total / n,
            "ideal": (n * len(prompt) + total) / (len(prompt) + total),
        }

    serve(start, lambda: {"together": once(True), "separate": once(False)}, resident_peak)


def pipeline_worker(spec: Spec) -> None:
    """Scores with the pipeline; with sorted texts it tries the batch sizes first."""
    state: dict[str, Any] = {}

    def one_round() -> dict[str, Any]:
        began = time.perf_counter()
        state["pipeline"](
            state["texts"], batch_size=state["batch_size"], truncation=True, max_length=512, function_to_apply="none"
        )
        return {"pairs_per_second": spec["pairs"] / (time.perf_counter() - began)}

    def start() -> dict[str, Any]:
        import torch
        from transformers import pipeline

        from rmjax.data.pretrained_tokenizer import open_tokenizer

        tokenizer = open_tokenizer(spec["folder"], template="transcript", **LIMITS)
        tokenizer.hf.pad_token = tokenizer.hf.pad_token or tokenizer.hf.sep_token
        state["pipeline"] = pipeline(
            "text-classification",
            model=spec["folder"],
            tokenizer=tokenizer.hf,
            dtype=getattr(torch, spec["dtype"]),
            device=0 if torch.cuda.is_available() else -1,
        )
        texts = [
            tokenizer.hf.apply_chat_template(
                [*({"role": m.role, "content": m.content} for m in c.prompt), {"role": "assistant", "content": r}],
                tokenize=False,
            )
            for c in load_texts(spec)
            for r in c.responses
        ]
        state.update(texts=texts, batch_size=16)
        if "sorted" not in spec["contender"]:
            one_round()
            return {}
        state["texts"] = sorted(texts, key=lambda text: -len(tokenizer.hf(text).input_ids))
        one_round()
        rates = {}
        for size in BATCH_SIZES:
            state["batch_size"] = size
            rates[size] = one_round()["pairs_per_second"]
        state["batch_size"] = max(rates, key=rates.__getitem__)
        return {"note": f" ({state['batch_size']})"}

    serve(start, one_round, resident_peak)


if __name__ == "__main__":
    main()
