"""Accuracy of rmjax and of TRL on a subset of HH-RLHF, with the same ids, weights and hyper-parameters.

    pip install -e ".[bench]"
    python benchmarks/hh_subset.py --model=minilm --weights=FOLDER --data=$RMJAX_DATA/hh-rlhf-subset \
        --workdir=runs/hh-subset --peers=3

FOLDER has the model in Hugging Face's format: all-MiniLM-L6-v2 (config.json, model.safetensors, tokenizer), or
SmolLM2-135M-Instruct. Trains on helpful-base and harmless-base, without a twentieth of the training prompts (batch 16,
cosine to 0, no warm-up, AdamW without decay, `LIMITS` of the texts; `RECIPES` has the rest), evaluates on their
test files, and prints the table. TRL gets exactly the ids that rmjax packs, so it leaves out no pair, and rmjax
evaluates the checkpoint that TRL saves. Finished runs are not repeated. --peers is the number of seeds of TRL. A second
table has every model of rmjax on both test files.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
SETS = {"helpful": "helpful-base", "safety": "harmless-base"}
LEARNED = "train.jsonl.gz[5%:]"  # training data of both trainers
HELD_OUT = "train.jsonl.gz[:5%]"  # for the canaries, the normalized scale and the temperature
LIMITS = {"max_prompt": 320, "max_response": 191}


class Recipe(NamedTuple):
    """Hyper-parameters that both trainers get."""

    epochs: int
    rate: float
    template: str  # empty: the tokenizer's own
    dtype: str
    microbatches: tuple[int, int]  # of rmjax and of TRL, to save memory; the update is the same


RECIPES = {
    "minilm": Recipe(2, 5e-5, "transcript", "float32", (1, 1)),
    "smollm2": Recipe(1, 2e-5, "", "bfloat16", (2, 8)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=RECIPES, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--peers", type=int, default=0)
    arguments = parser.parse_args()
    trainers = {"rmjax": (run_rmjax, arguments.seeds), "TRL": (run_trl, arguments.peers)}
    print("| data | trainer | accuracy by seed, % | mean ± standard error | interval over prompts | longer wins, % |")
    print("|---|---|---|---|---|---|")
    for page, subset in SETS.items():
        for name, (run, seeds) in trainers.items():
            results = []
            for seed in range(seeds):
                workdir = arguments.workdir / f"{name.lower()}-{subset}-seed{seed}"
                results.append(run(page, arguments.model, arguments.weights, arguments.data / subset, workdir, seed))
            if results:
                print(row(subset, name, [next(iter(result["heads"].values())) for result in results]), flush=True)
    print("\n| trained on | tested on | accuracy by seed, % | mean ± standard error | interval over prompts |")
    print("|---|---|---|---|---|")
    for trained in SETS.values():
        folders = [arguments.workdir / f"rmjax-{trained}-seed{seed}" for seed in range(arguments.seeds)]
        measured = [on_both(folder, arguments.data)["labels"] for folder in folders]
        for label, tested in SETS.items():
            print(f"| {trained} | {tested} | {' | '.join(cells([labels[label] for labels in measured]))} |", flush=True)


def row(subset: str, name: str, heads: list[dict]) -> str:
    """Returns a line of the first table."""
    return f"| {subset} | {name} | {' | '.join(cells(heads))} | {100 * heads[0]['length_baseline']:.1f} |"


def cells(parts: list[dict]) -> list[str]:
    """Returns accuracy by seed, its mean with standard error, and the mean of the seeds' intervals, in per cent."""
    accuracies = [100 * part["accuracy"] for part in parts]
    error = np.std(accuracies, ddof=1) / len(accuracies) ** 0.5 if len(accuracies) > 1 else float("nan")
    low, high = (100 * np.mean([part["accuracy_ci95"][end] for part in parts]) for end in (0, 1))
    seeds = ", ".join(f"{accuracy:.1f}" for accuracy in accuracies)
    return [seeds, f"{np.mean(accuracies):.1f} ± {error:.1f}", f"{low:.1f} to {high:.1f}"]


def on_both(workdir: Path, data: Path) -> dict:
    """Evaluates a run of rmjax on the test files of both sets, labelled by the folder names of HH-RLHF."""
    result = workdir / "both.json"
    if not result.is_file():
        command = [sys.executable, ROOT / "experiments/evaluate.py", f"--checkpoint={workdir}", f"--output={result}"]
        sources = ",".join(f"hh_rlhf/{subset}" for subset in SETS.values())
        subprocess.run([*command, f"--data={sources}", f"--manual_dir={data}"], check=True, stdout=sys.stderr)
    return json.loads(result.read_text())


def run_rmjax(page: str, model: str, weights: Path, data: Path, workdir: Path, seed: int) -> dict:
    """Returns the result of one run of experiments/train.py; runs it unless it is finished."""
    evaluation = workdir / "evaluation.json"
    if not evaluation.is_file():
        recipe = RECIPES[model]
        fields = {
            "model.path": weights,
            "data.train": f"jsonl:{data}/{LEARNED}",
            "data.eval": f"jsonl:{data}/test.jsonl.gz",
            "data.validation": f"jsonl:{data}/{HELD_OUT}",
            "data.refuse_leaks": True,
            "seed": seed,
            "tokenizer.max_prompt": LIMITS["max_prompt"],
            "tokenizer.max_response": LIMITS["max_response"],
            "tokenizer.template": recipe.template,
            "model.compute_dtype": recipe.dtype,
            "train.epochs": recipe.epochs,
            "train.batch_size": 16,
            "train.microbatches": recipe.microbatches[0],
            "train.optimizer.learning_rate": recipe.rate,
            "train.evaluate_every": 0,
            "train.checkpoint_every": 0,
            "train.optimizer.warmup_ratio": 0.0,
            "train.optimizer.warmup_steps": 0,
            "train.optimizer.final_ratio": 0.0,
            "train.optimizer.weight_decay": 0.0,
            "train.optimizer.b2": 0.999,
        }
        command = [sys.executable, ROOT / "experiments/train.py", f"--config={ROOT}/configs/{page}.py:{model}"]
        command += [f"--workdir={workdir}", *(f"--config.{name}={value}" for name, value in fields.items())]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return json.loads(evaluation.read_text())


def run_trl(page: str, model: str, weights: Path, data: Path, workdir: Path, seed: int) -> dict:
    """Returns the result of one run of benchmarks/trl_reward.py; trains and evaluates it unless it is finished."""
    evaluation = workdir / "evaluation.json"
    if not evaluation.is_file():
        recipe = RECIPES[model]
        command = [sys.executable, ROOT / "benchmarks/trl_reward.py", f"--weights={weights}", f"--output={workdir}"]
        command += [f"--data={data}/{LEARNED}", f"--seed={seed}", f"--epochs={recipe.epochs}", f"--rate={recipe.rate}"]
        command += [f"--template={recipe.template}", f"--dtype={recipe.dtype}"]
        command += [f"--microbatches={recipe.microbatches[1]}"]
        subprocess.run(command, check=True, stdout=sys.stderr)
        command = [sys.executable, ROOT / "experiments/evaluate.py", f"--checkpoint={workdir}"]
        command += [f"--data=jsonl:{data}/test.jsonl.gz", f"--output={evaluation}"]
        subprocess.run([*command, *(f"--{name}={n}" for name, n in LIMITS.items())], check=True, stdout=sys.stderr)
    return json.loads(evaluation.read_text())


if __name__ == "__main__":
    main()
