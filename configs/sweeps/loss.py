"""Sweep over losses and labels: which loss is best for which labels?

    python experiments/sweep.py --config=configs/sweeps/loss.py

The labels are rankings in three variants: as drawn from the gold reward; with a share of them reversed; and, for
regression, the raters' own ratings, with a different zero point for each rater. Ties are labels of pairs: the pairs of
8,000 rankings, those of negligible difference labelled as ties.

Claims: label smoothing at the rate of the noise protects against wrong labels (Mitchell, 2023). Ties carry information
that is lost if they are dropped (Rao & Kupper, 1967). Regression on absolute ratings suffers from differences between
raters, which do not affect comparisons (Stiennon et al., 2009.01325; Bai et al., 2204.05862).

Each loss gets the facts about its labels: the share of wrong labels, and the threshold of ties (1, in log odds). The
scores of a regression have their own unit, so that loss and calibration are measured at the temperature fitted on
validation data.

Results, three seeds:

- Regression does suffer. If raters share a zero point, it is not distinguishable from Bradley-Terry (-0.6 points, -3.3
  to +2.2). If their zero points scatter by 3, it learns next to nothing (-26.9, -32.8 to -21.1); if they scatter by 1,
  it is in between (-9.2, -27.4 to +9.0).
- Ties are not distinguishable from dropping them: +0.7 (0.2 to 1.2, over seeds only, one of 24 such intervals) with the
  loss of Rao and Kupper, +0.6 as halves (-0.5 to +1.6).
- Smoothing is not distinguishable from none at any rate of noise (+0.8, -2.4 to +3.9; +3.9, -12.0 to +19.8; -5.1, -17.3
  to +7.2). With 10 % wrong labels one seed of three ends at 70 % without smoothing; with 30 % the best has 68.1 %.
- On 16,000 single pairs, which do not teach the task, smoothing was better on labels as drawn (+6.0, 3.8 to 8.2) and
  regression worse (-5.5, -10.5 to -0.4); benchmarks/RESULTS.md has that table too.
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
# A batch has about as many pairs as 16 rankings, and the same learning rate.
PAIRS = (
    "data.train=gold/helpful[:8000]",
    "data.pairs=apart",
    "data.negligible=tied",
    "train.batch_size=128",
    "train.optimizer.learning_rate=8e-4",
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
        fields=("init={sft}",),
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
        figures=(("accuracy", "points", "accuracy", "calibration error"),),
    )
