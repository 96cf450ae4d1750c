"""Sweep over the margin of the loss: does a margin that grows with the strength of a preference help?

    python experiments/sweep.py --config=configs/sweeps/margin.py

Claim: a margin gains half a point, most of it on strong preferences, and a large margin costs accuracy on the weakest
(Llama 2, 2307.09288, tables 27 and 28: 62.5 % without, 63.0 with the small, 62.9 with the large margin).

A strength here is as noisy as the label itself: both are drawn from the same perturbed utilities, as the judgement of
one rater. The test set is four times the usual one and there are eight seeds, because the claimed effect is small.

Result: the small margin adds 0.1 points (-0.1 to +0.3), which excludes the published 0.5. The large one adds 0.3 (0.0
to 0.6), most of it on the strongest preferences, and trebles the calibration error. benchmarks/RESULTS.md has the
table.
"""

from ml_collections import ConfigDict

from configs.sweeps import page

PROMPTS = 8_000  # of the test set
STRENGTHS = ("significantly_better", "better", "slightly_better", "negligibly_better")


def get_config() -> ConfigDict:
    """The sweep."""
    by_strength = tuple((name.replace("_", " "), f"strengths.{name}.accuracy", "%") for name in STRENGTHS)
    return page.sweep(
        "Margin by strength",
        seeds=8,
        fields=("init={sft}", "data.train=gold/helpful[:4000]", f"data.eval=gold/helpful[:{PROMPTS}]"),
        settings=page.grid(margin={name: (f"loss.margin={name}",) for name in ("none", "small", "large")}),
        measures=(
            page.ACCURACY,
            *by_strength,
            ("calibration error", "calibration_error", "%"),
            ("loss on test", "calibration.helpful.tempered.loss", ""),
        ),
        compare="margin",
        claims=tuple(
            page.claim(f"{text} (2307.09288, table 28).", {"margin": name}, {"margin": "none"}, effect, measure)
            for text, name, effect, measure in (
                ("A small margin adds 0.5 points", "small", 0.005, "accuracy"),
                ("A large margin adds 0.4 points", "large", 0.004, "accuracy"),
                ("A small margin adds 1.3 points on the strongest preferences", "small", 0.013, "significantly better"),
                ("A large margin costs 0.2 points on the weakest", "large", -0.002, "negligibly better"),
            )
        ),
        figures=(("accuracy", "points", "accuracy", "significantly better", "negligibly better"),),
        assumed={**page.ASSUMED, "prompts": PROMPTS},
    )
