"""Smallest effect that a sweep can detect, stated before it is run."""

from __future__ import annotations

from rmjax.evaluation.power import POWER, smallest_effect
from rmjax.sweeps.settings import Sweep
from rmjax.sweeps.tables import compared


def detectable(sweep: Sweep) -> float | None:
    """Returns the smallest difference in accuracy that the sweep can detect; None without assumptions or intervals."""
    assumed = sweep.assumed
    if assumed is None or sweep.seeds < 2:
        return None
    return smallest_effect(
        seeds=sweep.seeds, seed_sd=assumed.seed_sd, prompts=assumed.prompts, prompt_sd=assumed.prompt_sd
    )


def power_in_words(sweep: Sweep) -> str:
    """Returns the smallest difference in accuracy that the sweep can detect, and what this assumes.

    The text is empty for a sweep that states no assumptions, as sweeps of earlier versions do, and says so for a sweep
    with fewer than two seeds.
    """
    assumed = sweep.assumed
    if assumed is None:
        return ""
    effect = detectable(sweep)
    if effect is None:
        return "One seed gives no interval: the smallest detectable difference needs at least two."
    return (
        f"Smallest detectable difference in accuracy: {100 * effect:.1f} points, with {100 * POWER:.0f} % power, "
        f"two-sided at 5 %, for one comparison of {sweep.seeds} paired seeds on {assumed.prompts:,} prompts. Assumed: "
        f"standard deviations of the difference of {100 * assumed.seed_sd:.1f} points over seeds and of "
        f"{100 * assumed.prompt_sd:.1f} points over prompts."
    )


def plan_in_words(sweep: Sweep, jobs: int) -> str:
    """Returns what a sweep is going to run, and the smallest difference that it can detect."""
    comparisons = compared([setting.at for setting in sweep.settings], sweep.compare, sweep.against)
    lines = [
        f"{sweep.title}: {len(sweep.settings)} settings with {sweep.seeds} seeds, {jobs} runs with their starts and "
        f"measurements, {len(comparisons)} comparisons along {sweep.compare}.",
        power_in_words(sweep),
    ]
    return "\n".join(filter(None, lines))
