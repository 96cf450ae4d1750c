"""Over-optimisation of one run: its curves over KL divergence, and their summary in `overoptimisation.json`.

A run is a policy of experiments/ppo.py, whose samples.jsonl has the responses to every validation prompt
(`train.samples` of at least `data.validation_prompts`), or a result of experiments/best_of_n.py. The gold reward of its
prompts must be known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rmjax.errors import InputError
from rmjax.evaluation.best_of_n import by_rank, rank_weights
from rmjax.evaluation.bootstrap import Bootstrap
from rmjax.evaluation.detectors import Watched, judge, repetition, sameness
from rmjax.evaluation.evaluate import json_safe
from rmjax.evaluation.metrics import spearman
from rmjax.evaluation.overoptimisation import Form, degree, find_peak, fit_form, hill_index
from rmjax.evaluation.text_table import interval_text, number, percent
from rmjax.sweeps.model_signals import FILE as MODEL_FILE
from rmjax.sweeps.model_signals import write_model_signals
from rmjax.sweeps.results import SweepResults
from rmjax.training.run import write_json
from rmjax.training.run_files import RunFiles, read_json, read_run
from rmjax.training.run_paths import RunPaths

FILE = "overoptimisation.json"
RESAMPLES = 2000  # of the intervals over prompts


class Curves(NamedTuple):
    """A policy while it is optimised against a judge.

    Attributes:
        form: how it is optimised.
        judge: the reward model.
        kl_E: KL divergence from the start, in nats per response.
        proxy_ExP: score of the judge.
        gold_ExP: gold reward.
        start_proxy_N: scores of responses of the start.
        start_gold_N: their gold rewards.
        start_proxy_sd: standard deviation of the scores among responses of the start to one prompt; NaN if there is one
            response.
        signals: by name, a signal for each evaluation that needs no gold reward; see `detectors.py`.
    """

    form: Form
    judge: str
    kl_E: np.ndarray
    proxy_ExP: np.ndarray
    gold_ExP: np.ndarray
    start_proxy_N: np.ndarray
    start_gold_N: np.ndarray
    start_proxy_sd: float
    signals: dict[str, list[float]]


def read_curves(folder: Path) -> Curves:
    """Returns the curves of a run.

    Raises:
        InputError: the folder holds no such run.
    """
    result = read_json(RunPaths(folder).evaluation)
    if result is not None and "curve" in result:
        return _of_best_of_n(folder, result)
    run = read_run(folder)
    if "rollout" not in run.config:
        raise InputError(f"{folder} holds neither a policy nor a result of best_of_n.py")
    return _of_policy(run)


def _of_best_of_n(folder: Path, result: dict[str, Any]) -> Curves:
    with np.load(RunPaths(folder).evaluation.with_suffix(".scores.npz")) as scores:
        proxy, gold = scores["score"], _helpful(folder, scores)
    rows, samples = result["curve"], proxy.shape[1]
    best_proxy, best_gold = (
        np.array([by_rank(proxy, values) @ rank_weights(samples, row["n"]) for row in rows]) for values in (proxy, gold)
    )
    return Curves(
        form="best-of-n",
        judge=result["checkpoint"],
        kl_E=np.array([row["kl"] for row in rows]),
        proxy_ExP=best_proxy,
        gold_ExP=best_gold,
        start_proxy_N=proxy.ravel(),
        start_gold_N=gold.ravel(),
        start_proxy_sd=float(proxy.std(1).mean()),
        signals={},
    )


def _of_policy(run: RunFiles) -> Curves:
    evaluated = {row["step"]: row for row in run.metrics if "validation/kl" in row}
    kl = {step: row["validation/kl"] for step, row in evaluated.items()}
    texts: dict[int, list[str]] = {step: [] for step in kl}
    proxy: dict[int, list[float]] = {step: [] for step in kl}
    gold: dict[int, list[float]] = {step: [] for step in kl}
    for record in run.samples or []:
        proxy[record["step"]].append(record["scores"]["score"])
        gold[record["step"]].append(_helpful(run.path, record["scores"]))
        texts[record["step"]].append(record["response"])
    prompts = {len(values) for values in proxy.values()}
    if len(prompts) != 1:
        raise InputError(f"{run.path / 'samples.jsonl'} does not have the same prompts at every evaluation")
    proxy_ExP, gold_ExP = (np.array([values[step] for step in kl]) for values in (proxy, gold))
    return Curves(
        form="RL",
        judge=run.config["reward"],
        kl_E=np.array(list(kl.values())),
        proxy_ExP=proxy_ExP,
        gold_ExP=gold_ExP,
        start_proxy_N=proxy_ExP[0],
        start_gold_N=gold_ExP[0],
        start_proxy_sd=float("nan"),
        signals={
            "KL": list(kl.values()),
            "length": [abs(row["validation/length"] - evaluated[0]["validation/length"]) for row in evaluated.values()],
            "repetition": [repetition(each) - repetition(texts[0]) for each in texts.values()],
            "sameness": [sameness(each) for each in texts.values()],
            "score": proxy_ExP.mean(1).tolist(),
        },
    )


def _helpful(folder: Path, scores: Any) -> Any:
    if "gold_helpful" not in scores:
        raise InputError(f"{folder} has no gold reward: use prompts of gold/helpful")
    return scores["gold_helpful"]


def summarize(folder: Path) -> None:
    """Writes `overoptimisation.json` of a run.

    `d`, and `proxy` and `gold`: gains over the start in standard deviations of its responses; their `fit`; `gamma`;
    `peak` (gold reward in its own unit); `signals`; `overoptimised`, 1 or 0; `tail_index` of the proxy's error;
    `score_sd`, see `Curves.start_proxy_sd`, in standard deviations of all its responses; `judge_accuracy`, `judge`.
    """
    curves = read_curves(folder)
    d = np.sqrt(np.maximum(curves.kl_E, 0.0))
    proxy_sd, gold_sd = float(curves.start_proxy_N.std()), float(curves.start_gold_N.std())
    proxy, gold = (x.mean(1) - x[0].mean() for x in (curves.proxy_ExP / proxy_sd, curves.gold_ExP / gold_sd))
    fits = {name: fit_form(d, gain, curves.form) for name, gain in (("proxy", proxy), ("gold", gold))}
    peak = find_peak(d, curves.proxy_ExP, curves.gold_ExP, Bootstrap(RESAMPLES, 0))
    judged = read_json(RunPaths(Path(curves.judge)).evaluation) if Path(curves.judge).is_dir() else None
    try:
        tail = hill_index(curves.start_proxy_N / proxy_sd - curves.start_gold_N / gold_sd)
    except InputError:  # too few responses of the start
        tail = float("nan")
    summary = {
        "form": curves.form,
        "d": d.tolist(),
        "proxy": proxy.tolist(),
        "gold": gold.tolist(),
        "fit": {name: {**fit._asdict(), "peak": fit.peak} for name, fit in fits.items()},
        "gamma": degree(fits["gold"], fits["proxy"], float(d.max())),
        "peak": peak._asdict(),
        "signals": curves.signals,
        "overoptimised": int(peak.overoptimised),
        "gold_end": float(curves.gold_ExP[-1].mean()),
        "largest_d": float(d.max()),
        "tail_index": tail,
        "score_sd": curves.start_proxy_sd / proxy_sd,
        "judge": curves.judge,
        "judge_accuracy": judged["accuracy"] if judged else None,
    }
    write_json(folder / FILE, json_safe(summary))


def correlation_in_words(results: SweepResults) -> str:
    """Returns the rank correlation of the accuracy of judges and their γ under best-of-n; empty below five judges.

    Its interval is over judges, drawn with replacement. A judge is one seed of a setting.
    """
    found = [read_json(results.path / row.folder / FILE) for row in results.finished]
    best = [each for each in found if each and each["form"] == "best-of-n"]
    judges = [each for each in best if each["gamma"] is not None]
    left_out = f"; {len(best) - len(judges)} others never raise the gold reward and have no γ" if best != judges else ""
    if len(judges) < 5:
        return ""
    pairs = np.array([[each["judge_accuracy"], each["gamma"]] for each in judges], np.float64)
    drawn = np.random.default_rng(0).integers(len(pairs), size=(RESAMPLES, len(pairs)))
    low, high = np.nanquantile([spearman(*pairs[chosen].T) for chosen in drawn], [0.025, 0.975])
    return (
        f"Rank correlation of the accuracy of a judge and γ under best-of-n, {len(judges)} judges: "
        f"{spearman(*pairs.T):+.2f} ({low:+.2f} to {high:+.2f}, over judges){left_out}."
    )


def detector_rows(results: SweepResults) -> list[tuple[str, ...]]:
    """Returns the table of the detectors over the policies of a study, its header first; empty without policies.

    The shares of runs are those at a threshold that is chosen on the runs of the other seeds; in a study with one seed,
    on all other runs.
    """
    read = [(row, results.path / row.folder) for row in results.finished]
    summaries = [(row, folder, read_json(folder / FILE)) for row, folder in read]
    found = [(row, folder, summary) for row, folder, summary in summaries if summary and summary["signals"]]
    write_model_signals([folder for _, folder, _ in found])
    seeds = {row.seed for row, *_ in found}
    policies = [
        run
        | {"signals": run["signals"] | (read_json(folder / MODEL_FILE) or {}).get("signals", {})}
        | {"fold": row.seed if len(seeds) > 1 else number}
        for number, (row, folder, run) in enumerate(found)
    ]
    if len(policies) < 2 or not any(any(each["peak"]["exploited_E"]) for each in policies):
        return []
    rows: list[tuple[str, ...]] = [
        ("signal", "area under the ROC", "threshold", "over-optimised runs found", "other runs with an alarm")
    ]
    for name in dict.fromkeys(name for run in policies for name in run["signals"]):
        with_signal = [run for run in policies if name in run["signals"]]
        if len({run["fold"] for run in with_signal}) < 2:
            continue
        each = judge(
            [
                Watched(np.array(run["signals"][name]), np.array(run["peak"]["exploited_E"]), run["fold"])
                for run in with_signal
            ]
        )
        rows.append(
            (
                name,
                number(each.auc) + interval_text(each.interval, " ({})", form=".2f", scale=1),
                number(each.threshold),
                percent(None if np.isnan(each.found) else each.found),
                percent(None if np.isnan(each.false) else each.false),
            )
        )
    return rows
