"""Sweep over the margin of the loss: does a margin that grows with the strength of a preference help?

    python experiments/sweep.py --config=configs/sweeps/margin.py

Claim: a margin gains half a point, most of it on strong preferences, and a large margin costs accuracy on the weakest
(Llama 2, 2307.09288, tables 27 and 28: 62.5 % without, 63.0 with the small, 62.9 with the large margin).

Results, five seeds: 83.6 ± 0.6 without, 83.7 ± 0.4 with the small, 83.8 ± 0.4 with the large margin.

- By seed the small margin is 0.1 points better (-0.9 to +1.2) and the large one 0.2 (-0.8 to +1.2). The claim is not
  reproduced, but half a point is inside both intervals.
- No strength differs from the others. On the weakest preferences both margins are worse (-0.7, -1.8 to +0.3; -0.5, -1.5
  to +0.5).
- Without a temperature the scores are too confident: the calibration error grows by 2.3 (1.5 to 3.2) and 5.2 (4.1 to
  6.4). At the temperature fitted on validation data the loss on test is the same as without a margin.
- On half of the comparisons neither margin was distinguishable: +1.0 (-0.5 to +2.5) and +0.5 (-1.9 to +2.9).
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
