"""Tables of the results of a policy, before and after training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rmjax.evaluation.text_table import interval_text, mean_text, percent, text_table

HEAD = ("", "before", "after", "difference", "wins against the start")


def result_table(result: Mapping[str, Any]) -> str:
    """Returns the results of a finished run as text."""
    return text_table([HEAD, *result_rows(result)])


def result_rows(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Returns a row for every score of sampled and of greedy responses, from evaluation.json of a policy."""
    rows: list[tuple[str, ...]] = []
    for way in ("sampled", "greedy"):
        before, after = result[way]["before"], result[way]["after"]
        for name in [key.removesuffix("_win_rate") for key in after if key.endswith("_win_rate")]:
            rows.append(
                (
                    f"{name.replace('_', ' ')}, {way}",
                    f"{before[name]:.2f}{_interval(before[f'{name}_ci95'])}",
                    f"{after[name]:.2f}{_interval(after[f'{name}_ci95'])}",
                    f"{after[f'{name}_gain']:+.2f}{_interval(after[f'{name}_gain_ci95'])}",
                    percent(after[f"{name}_win_rate"]) + interval_text(after[f"{name}_win_rate_ci95"], " ({})"),
                )
            )
        if "kl" in after:
            kl = mean_text(after["kl"], after["kl_error"])
            rows.append((f"KL in nats per response, {way}", "0", kl, "", ""))
        rows.append((f"tokens per response, {way}", f"{before['length']:.1f}", f"{after['length']:.1f}", "", ""))
        rows.append((f"cut at the limit, {way}", percent(before["cut"]), percent(after["cut"]), "", ""))
    return rows


def _interval(ends: Any) -> str:
    return interval_text(ends, " ({})", form=".2f", scale=1.0)
