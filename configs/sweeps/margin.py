"""Sweep over the margin of the loss: does a margin that grows with the strength of a preference help?

    python experiments/sweep.py --config=configs/sweeps/margin.py

Claim: a margin gains half a point, most of it on strong preferences, and a large margin costs accuracy on the weakest
(Llama 2, 2307.09288, tables 27 and 28: 62.5 % without, 63.0 with the small, 62.9 with the large margin).

Results on the corpus of skills: not measured yet.
"""

from ml_collections import ConfigDict

from configs.sweeps import page

STRENGTHS = ("significantly_better", "better", "slightly_better", "negligibly_better")


def get_config() -> ConfigDict:
    """The sweep."""
    by_strength = tuple((name.replace("_", " "), f"strengths.{name}.accuracy", "%") for name in STRENGTHS)
    return page.sweep(
        "Margin by strength",
        seeds=5,
        fields=("init={sft}",),
        settings=page.grid(margin={name: (f"loss.margin={name}",) for name in ("none", "small", "large")}),
        measures=(
            page.ACCURACY,
            *by_strength,
            ("calibration error", "calibration_error", "%"),
            ("loss on test", "calibration.helpful.tempered.loss", ""),
        ),
        compare="margin",
        figures=(("accuracy", "points", "accuracy", "significantly better", "negligibly better"),),
    )
