"""Sweep over families of losses: ranking, classification, regression.

    python experiments/sweep.py --config=configs/sweeps/loss_family.py

Claim: to classify every response by itself as preferred or not is better than Bradley-Terry on pairs, above all if the
labels are noisy (Sun et al., 2411.04991, which trains heads on embeddings of a frozen language model). Regression on
the raters' own ratings is the baseline without comparisons.

The labels are pairs of two responses, once as drawn, and once with a share of them reversed.

Result: classification is worse than Bradley-Terry, by 1.6 points (0.9 to 2.2) on labels as drawn and by 2.6 (1.1 to
4.1) if 20 % are wrong (five seeds). Here the whole model is trained, which their experiments do not do. Regression on
ratings is 2.9 points worse (0.1 to 5.7) and scatters more. benchmarks/RESULTS.md has the table.
"""

from ml_collections import ConfigDict

from configs.sweeps import page

FAMILIES = {
    "Bradley-Terry": (),
    "classification": ("loss.name=classification",),
    "regression": ("loss.name=squared_error",),
}
LABELS = {"as drawn": (), "20 % wrong": ("data.flipped=0.2",)}


def get_config() -> ConfigDict:
    """The sweep."""
    return page.sweep(
        "Families of losses",
        seeds=5,
        fields=("init={sft}", "data.train=gold/helpful[:4000]", "data.responses=2", "train.batch_size=16"),
        settings=tuple(
            page.setting({"labels": labels, "loss": family}, *fields, *FAMILIES[family])
            for labels, fields in LABELS.items()
            for family in FAMILIES
            if family != "regression" or labels == "as drawn"  # reversed labels are labels of pairs
        ),
        measures=(
            page.ACCURACY,
            page.GAIN,
            ("top response right", "rankings.any_k.top1", "%"),
        ),
        compare="loss",
        claims=tuple(
            page.claim(
                f"Classification is better than Bradley-Terry, labels {labels} (2411.04991).",
                {"labels": labels, "loss": "classification"},
                {"labels": labels, "loss": "Bradley-Terry"},
                0.01,
                published=False,
            )
            for labels in LABELS
        ),
        figures=(("accuracy", "points", "accuracy", "top response right"),),
    )
