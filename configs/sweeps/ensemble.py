"""Sweep over ensembles: are several reward models better than one?

    python experiments/sweep.py --config=configs/sweeps/ensemble.py

Claims: on new data an ensemble is a little more accurate than its members (Coste et al., 2310.02743). Averaged weights
are nearly as accurate at the cost of one model (WARM, Ramé et al., 2401.12187). The worst case and the uncertainty
penalty are made for a policy that exploits mistakes, and they cost some accuracy here. The sweep trains on 2,000
comparisons, so that the members disagree.

Every seed has five members with the same SFT weights. Each member has its own order of the data and its own initial
head. "best of 5" is the member that is best on validation data. Weights can be averaged only if the heads have the same
initial values. Therefore five more members share their initial head; the mean of their scores is compared with their
averaged weights.

Result: the mean is 0.6 points better than the best member (0.0 to 1.2). Averaged weights are within a point of the mean
of the scores (-0.3, -0.6 to +0.1). benchmarks/RESULTS.md has the table.
"""

from ml_collections import ConfigDict

from configs.sweeps import page

COUNT = 5
OWN, SHARED = "member", "member, shared head"
TEST = ("data=gold/helpful", "bootstrap=0")


def get_config() -> ConfigDict:
    """The sweep."""
    names = {kind: tuple({"judge": f"{kind} {number}"} for number in range(1, COUNT + 1)) for kind in (OWN, SHARED)}
    members = tuple(
        page.setting(at, f"seed={number}{{seed}}", *fields)  # member 3 at seed 1 of the sweep has the seed 31
        for kind, fields in ((OWN, ()), (SHARED, ("init_seed={seed}",)))
        for number, at in enumerate(names[kind], start=1)
    )
    combinations = tuple(
        page.combination({"judge": name}, names[kind], *TEST, *options)
        for name, kind, options in (
            ("best of 5", OWN, ("combine=best", "validation=gold/helpful")),
            ("mean", OWN, ("combine=mean",)),
            ("worst case", OWN, ("combine=worst",)),
            ("mean less variance", OWN, ("combine=uncertainty", "penalty=0.5")),
            ("mean, shared head", SHARED, ("combine=mean",)),
            ("averaged weights", SHARED, ("combine=weights",)),
        )
    )
    return page.sweep(
        "One reward model, and five together",
        seeds=5,
        fields=("init={sft}", "data.train=gold/helpful[:2000]"),
        settings=members + combinations,
        measures=(page.ACCURACY, page.GAIN, ("loss on test", "loss", "")),
        compare="judge",
        against=(
            ("best of 5", "member 1"),
            ("mean", "best of 5"),
            ("worst case", "mean"),
            ("mean less variance", "mean"),
            ("averaged weights", "mean, shared head"),
            ("averaged weights", "best of 5"),
        ),
        claims=(
            page.claim(
                "An ensemble is better than its best member (2310.02743).",
                {"judge": "mean"},
                {"judge": "best of 5"},
                0.005,
                published=False,
            ),
            page.claim(
                "Averaged weights are as accurate as the mean of the scores (2401.12187).",
                {"judge": "averaged weights"},
                {"judge": "mean, shared head"},
                0.01,
                published=False,
                equal=True,
            ),
        ),
        figures=(("accuracy", "points", "accuracy"),),
    )
