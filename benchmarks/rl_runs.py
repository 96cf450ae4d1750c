"""Algorithms or kinds of reward compared: policies trained from one start, with a table and a figure.

    python experiments/ppo.py --config=configs/ppo.py --workdir=runs/ppo
    PYTHONPATH=. python benchmarks/rl_runs.py --start=runs/ppo --compare=algorithms --seeds=3
    PYTHONPATH=. python benchmarks/rl_runs.py --start=runs/ppo --compare=kinds --seeds=1

Every run starts from the SFT model and the reward model of --start, and takes --steps iterations with no stop rule. The
self-supervised reward needs a policy trained by DPO: the first seed of `online DPO`, which is run first if it is
missing.

The table has, over the held-out prompts of the configuration: gold reward of sampled responses after training, with the
interval of its gain over prompts (mean of the seeds' intervals) and the gains by seed; KL divergence from the start;
score of the reward model. `gold at KL` interpolates the evaluations during training at the KL divergence that every run
reaches, with the seconds of iterations until then. Finished runs are not repeated. The figure has the gold reward and
the KL divergence over the iterations, the mean over seeds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from harness import markdown

Case = tuple[str, Mapping[str, Any]]  # variant of configs/ppo.py, and changes

ALGORITHMS: dict[str, Case] = {
    "PPO": ("", {}),
    "RLOO": ("rloo", {}),
    "GRPO": ("grpo", {}),
    "online DPO": ("dpo", {}),
}
KINDS: dict[str, Case] = {
    "sparse": ("", {}),
    "dense": ("", {"rewards.kind": "dense"}),
    "shaped": ("", {"rewards.kind": "shaped"}),
    "intrinsic": ("", {"rewards.novelty": 0.1}),
    "adversarial": ("", {"rewards.weight": 0.0, "rewards.adversarial": 0.5, "critic": "policy"}),
    "self-supervised": ("", {"rewards.weight": 0.0, "rewards.implicit": 0.1, "critic": "policy"}),
    "contrastive": ("", {"rewards.kind": "contrastive"}),
    "bounded": ("", {"rewards.kind": "bounded"}),
}
COMPARED = {"algorithms": ALGORITHMS, "kinds": KINDS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", type=Path, required=True, help="run of configs/ppo.py or configs/helpful.py")
    parser.add_argument("--workdir", type=Path, help="folder of the runs; by default rl_runs in that of --start")
    parser.add_argument("--compare", choices=sorted(COMPARED), required=True)
    parser.add_argument("--only", help="names of the table, joined by commas")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--figure", type=Path, default=Path("rl_runs.png"))
    arguments = parser.parse_args()
    start = arguments.start / "reward" if (arguments.start / "reward").is_dir() else arguments.start
    workdir = arguments.workdir or arguments.start / "rl_runs"
    cases = COMPARED[arguments.compare]
    if arguments.only:
        cases = {name: cases[name] for name in arguments.only.split(",")}
    found = {
        name: [run(case, start, workdir, name, seed, arguments.steps) for seed in range(arguments.seeds)]
        for name, case in cases.items()
    }
    print(markdown(table(found)))
    draw(found, arguments.figure)


def run(case: Case, start: Path, workdir: Path, name: str, seed: int, steps: int) -> dict[str, Any]:
    """Trains a policy unless its run is finished. Returns `result` (its evaluation.json) and `rows` (metrics.jsonl)."""
    from configs import ppo
    from rmjax.stages import train_policy

    variant, changes = case
    if "rewards.implicit" in changes:
        run(ALGORITHMS["online DPO"], start, workdir, "online DPO", 0, steps)
        changes = {**changes, "rewards.implicit_policy": str(workdir / "online DPO-seed0")}
    config = ppo.get_config(variant)
    stops = {f"stop.{rule}": 0.0 for rule in ("score", "kl", "entropy", "cut")} | {"stop.patience": 0}
    fields = {"policy": str(start), "reward": str(start), "seed": seed, "train.max_steps": steps, **stops}
    fields |= {"train.evaluate_every": 20, "train.checkpoint_every": 0, "train.select": "last"}
    config.update_from_flattened_dict({**fields, **changes})
    folder = workdir / f"{name}-seed{seed}"
    result = train_policy(config, folder)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {"result": result, "rows": rows}


def table(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, str]]:
    """Returns a row for every case."""
    curves = {name: [curve(each["rows"]) for each in runs] for name, runs in found.items()}
    common = min(each["kl"].max() for runs in curves.values() for each in runs)
    return [row(name, [each["result"] for each in runs], curves[name], common) for name, runs in found.items()]


def row(name: str, results: Sequence[Any], curves: Sequence[Any], common: float) -> dict[str, str]:
    """Returns the row of a case."""
    before, after = ([each["sampled"][when] for each in results] for when in ("before", "after"))
    low, high = np.mean([each["gold_helpful_gain_ci95"] for each in after], axis=0)
    reached = [at(each, common) for each in curves]
    return {
        "": name,
        "gold, before": f"{np.mean([each['gold_helpful'] for each in before]):.2f}",
        "gold, after": mean_text([each["gold_helpful"] for each in after]),
        "gain by seed": ", ".join(f"{each['gold_helpful_gain']:+.2f}" for each in after),
        "interval over prompts": f"{low:+.2f} to {high:+.2f}",
        "KL, nats": mean_text([each["kl"] for each in after]),
        "score": mean_text([each["score"] for each in after]),
        f"gold at KL {common:.1f}": mean_text([gold for gold, _ in reached]),
        "seconds to it": f"{np.mean([seconds for _, seconds in reached]):.0f}",
    }


def mean_text(values: Sequence[float]) -> str:
    """Returns the mean, with the standard error over several seeds."""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{np.mean(values):.2f} ± {np.std(values, ddof=1) / len(values) ** 0.5:.2f}"


def curve(rows: Sequence[Mapping[str, float]]) -> dict[str, np.ndarray]:
    """Returns `step`, `kl`, `gold` and `seconds` of the evaluations during training."""
    seconds, total = {0: 0.0}, 0.0
    for each in rows:
        if "seconds/total" in each:
            total += each["seconds/total"]
            seconds[each["step"]] = total
    points = [each for each in rows if "validation/kl" in each]
    columns = {"step": "step", "kl": "validation/kl", "gold": "validation/gold_helpful"}
    found = {name: np.array([each[key] for each in points]) for name, key in columns.items()}
    return found | {"seconds": np.array([seconds[step] for step in found["step"]])}


def at(points: Mapping[str, np.ndarray], kl: float) -> tuple[float, float]:
    """Returns gold reward and seconds where the KL divergence first reaches `kl`, linear between evaluations."""
    after = int(np.argmax(points["kl"] >= kl)) or 1
    low, high = points["kl"][after - 1], points["kl"][after]
    share = (kl - low) / (high - low) if high > low else 1.0
    gold, seconds = (
        points[name][after - 1] + share * (points[name][after] - points[name][after - 1])
        for name in ("gold", "seconds")
    )
    return float(gold), float(seconds)


def draw(found: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """Writes the figure."""
    from rmjax.report.style import LEGEND_ABOVE_AXES, LINE_COLOURS, new_figure, save, style_axes

    figure = new_figure(7.5, 6.0, "Policies from one start, on held-out prompts")
    above, below = figure.subplots(2, 1, sharex=True)
    for i, (name, runs) in enumerate(found.items()):
        curves = [curve(each["rows"]) for each in runs]
        style = {"color": LINE_COLOURS[i % len(LINE_COLOURS)], "linestyle": "-" if i < len(LINE_COLOURS) else "--"}
        for axes, key in ((above, "gold"), (below, "kl")):
            axes.plot(curves[0]["step"], np.mean([each[key] for each in curves], axis=0), label=name, **style)
    above.legend(**{**LEGEND_ABOVE_AXES, "ncols": 4})
    style_axes(above, ylabel="gold reward (helpful)")
    style_axes(below, xlabel="step (iterations)", ylabel="KL (nats per response)")
    figure.align_ylabels()
    save(figure, path)


if __name__ == "__main__":
    main()
