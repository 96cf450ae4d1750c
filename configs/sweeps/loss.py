"""Which loss for which labels?

    python experiments/sweep.py --config=configs/sweeps/loss.py

Rankings, judged in three ways: as drawn from the gold reward; with a share of them turned around, best to worst; and,
for regression, with the raters' own ratings, each rater's zero point elsewhere. Ties are of pairs: those of 8,000
rankings, taken apart, the ones of negligible difference called ties.

Claims: label smoothing at the rate of the noise protects against wrong labels (Mitchell, 2023); ties carry
information that dropping them loses (Rao & Kupper, 1967); regression on absolute ratings suffers from what raters do
not share, which comparisons are free of (Stiennon et al., 2009.01325; Bai et al., 2204.05862).

Each loss gets what it would be told of its labels: the share that is wrong, and where ties begin (at 1, in logarithms
of odds). A regression's scores have a unit of their own, so loss and calibration are taken at the temperature that
validation data ask for.

Found, on 16,000 pairs of two responses each, three seeds, as the page first had it: too few to have learned the task
(64.5 % with Bradley-Terry as drawn), so that settings differ in how soon they find it. Squared error is worse by 5.5
points (0.4 to 10.5), by 8.6 where raters' zero points scatter by 3 (1.8 to 15.5); smoothing of labels as drawn is
better by 6.0 (3.8 to 8.2); where labels are wrong it is not told apart from none, nor are the three treatments of ties.
On rankings, which teach the task: not yet measured.
"""

from ml_collections import ConfigDict

from configs.sweeps import page

# Comparisons do not feel a rater's zero point: regression on biased ratings stands beside Bradley-Terry as drawn.
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
# About as many pairs a batch as 16 rankings have, at the rate of those.
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
