"""Does a margin that grows with the strength of a preference help?

    python experiments/sweep.py --config=configs/sweeps/margin.py

Claim: yes, by half a point, most on strong preferences, and a large margin costs accuracy on the weakest (Llama 2,
2307.09288, tables 27 and 28: 62.5 % without, 63.0 with the small, 62.9 with the large one).

Found, on 16,000 comparisons in batches of 16, five seeds: 80.7 ± 0.7 without, 81.7 ± 0.9 with the small, 81.2 ± 1.4
with the large one; by seed the small one is 1.0 point better (-0.5 to +2.5), the large one 0.5 (-1.9 to +2.9), nothing
to be told apart, and no strength stands out. On all comparisons, as the page has it since, where seeds scatter less:
not yet measured.
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
        measures=(page.ACCURACY, *by_strength, page.LOSS),
        compare="margin",
        figures=(("accuracy", "points", "accuracy", "significantly better", "negligibly better"),),
    )
