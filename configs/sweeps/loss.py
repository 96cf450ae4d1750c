"""Sweep over losses and labels: which loss is best for which labels?

    python experiments/sweep.py --config=configs/sweeps/loss.py

The labels are rankings in three variants: as drawn from the gold reward; with a share of them reversed; and, for
regression, the raters' own ratings, with a different zero point for each rater. Ties are labels of pairs: the pairs of
1,000 rankings, those of negligible difference labelled as ties.

Claims: label smoothing at the rate of the noise protects against wrong labels (Mitchell, 2023). Ties carry information
that is lost if they are dropped (Rao & Kupper, 1967). Regression on absolute ratings suffers from differences between
raters, which do not affect comparisons (Stiennon et al., 2009.01325; Bai et al., 2204.05862).

Each loss gets the facts about its labels: the share of wrong labels, and the threshold of ties (1, in log odds). Loss
and calibration are measured at the temperature fitted on validation data. A regression has neither: its scores are
ratings, and their differences are no log odds.

Result (three seeds, benchmarks/RESULTS.md): smoothing at the rate of 30 % wrong labels does not help (-2.6 points, -5.3
to +0.1). Rao-Kupper is 0.4 points better than dropping ties (0.1 to 0.7). Regression on ratings is worse: 15.5 points
(2.2 to 28.9) if the zero points of raters differ by 3, and not told (-6.5, -16.3 to +3.4) if they differ by 1.
"""

from ml_collections import ConfigDict

from configs.sweeps import page

# A rater's zero point does not change comparisons: Bradley-Terry as drawn is the reference of the biased ratings too.
LOSSES = {
    "Bradley-Terry": (),
    "smoothed 0.1": ("loss.label_smoothing=0.1",),
    "smoothed 0.3": ("loss.label_smoothing=0.3",),
    "squared error": ("loss.name=squared_error",),
    "squared error, raters differ by 1": ("loss.name=squared_error", "data.rater_bias=1.0"),
    "squared error, raters differ by 3": ("loss.name=squared_error", "data.rater_bias=3.0"),
    "ties as halves": ("loss.ties=half",),
    "Rao-Kupper": ("loss.ties=rao_kupper", "loss.tie_threshold=1.0"),
}
BASE, NOISY, BIASED = "Bradley-Terry", "smoothed 0.3", "squared error, raters differ by {}"
# A batch has about as many pairs as 8 rankings.
PAIRS = (
    "data.train=gold/helpful[:1000]",
    "data.pairs=apart",
    "data.negligible=tied",
    "train.batch_size=64",
)
LABELS = {
    "as drawn": (
        (),
        (
            "Bradley-Terry",
            "smoothed 0.1",
            "squared error",
            "squared error, raters differ by 1",
            "squared error, raters differ by 3",
        ),
    ),
    "10 % wrong": (("data.flipped=0.1",), ("Bradley-Terry", "smoothed 0.1")),
    "30 % wrong": (("data.flipped=0.3",), ("Bradley-Terry", "smoothed 0.3")),
    "negligible are ties": (PAIRS, ("Bradley-Terry", "ties as halves", "Rao-Kupper")),
}


def get_config() -> ConfigDict:
    """The sweep."""
    return page.sweep(
        "Losses on labels of several kinds",
        fields=("init={sft}", "data.train=gold/helpful[:2000]"),
        settings=tuple(
            page.setting({"labels": labels, "loss": loss}, *fields, *LOSSES[loss])
            for labels, (fields, losses) in LABELS.items()
            for loss in losses
        ),
        measures=(
            page.ACCURACY,
            ("loss on test", "calibration.helpful.tempered.loss", ""),
            ("calibration error", "calibration.helpful.tempered.calibration_error", "%"),
        ),
        compare="loss",
        claims=tuple(
            page.claim(
                text, {"labels": labels, "loss": loss}, {"labels": labels, "loss": BASE}, effect, published=False
            )
            for text, labels, loss, effect in (
                ("Label smoothing protects against 30 % wrong labels (Mitchell, 2023).", "30 % wrong", NOISY, 0.01),
                ("Ties carry information (Rao & Kupper, 1967).", "negligible are ties", "Rao-Kupper", 0.01),
                ("Ratings of raters that differ by 1 are worse (2009.01325).", "as drawn", BIASED.format(1), -0.01),
                ("Ratings of raters that differ by 3 are worse (2009.01325).", "as drawn", BIASED.format(3), -0.01),
            )
        ),
        figures=(("accuracy", "points", "accuracy", "calibration error"),),
    )
