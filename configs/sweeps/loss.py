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

Found, three seeds: regression does suffer. Where raters share a zero point it is not told apart from Bradley-Terry
(-0.6 points, -3.3 to +2.2), where theirs scatter by 3 it learns next to nothing (-26.9, -32.8 to -21.1), by 1 it lies
between (-9.2, -27.4 to +9.0). Ties are not told apart from dropping them: +0.7 (0.2 to 1.2, over seeds only, one of
24 such intervals) with Rao and Kupper's loss, as halves +0.6 (-0.5 to +1.6). Smoothing is not told apart from none
at any rate of noise (+0.8, -2.4 to +3.9; +3.9, -12.0 to +19.8; -5.1, -17.3 to +7.2): with 10 % wrong one seed
of three ends at 70 % without it, with 30 % the best has 68.1 %. On 16,000 single pairs, which do not teach the task,
smoothing was ahead on labels as drawn (+6.0, 3.8 to 8.2) and regression behind (-5.5, -10.5 to -0.4);
benchmarks/RESULTS.md has that table too.
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
