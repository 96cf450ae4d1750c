"""Does a margin that grows with the strength of a preference help?

    python experiments/sweep.py --config=configs/sweeps/margin.py

Claim: yes, by half a point, most on strong preferences, and a large margin costs accuracy on the weakest (Llama 2,
2307.09288, tables 27 and 28: 62.5 % without, 63.0 with the small, 62.9 with the large one).

Found, five seeds: 83.6 ± 0.6 without, 83.7 ± 0.4 with the small, 83.8 ± 0.4 with the large one. By seed the small one
is 0.1 points better (-0.9 to +1.2), the large one 0.2 (-0.8 to +1.2): not reproduced, though half a point would fit
into either interval. No strength stands out; on the weakest both are below (-0.7, -1.8 to +0.3; -0.5, -1.5 to +0.5). As
they stand the scores of a margin are too sure of themselves, calibration error +2.3 (1.5 to 3.2) and +5.2 (4.1 to 6.4);
at the temperature that validation data ask for the loss on test is as without. On half of the comparisons neither
margin could be told: +1.0 (-0.5 to +2.5) and +0.5 (-1.9 to +2.9).
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
