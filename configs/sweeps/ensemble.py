"""Are several reward models better than one?

    python experiments/sweep.py --config=configs/sweeps/ensemble.py

Claims: an ensemble judges new data better than its members, a little (Coste et al., 2310.02743), and averaged weights
do nearly as well for the price of one (WARM, Ramé et al., 2401.12187); the worst case and the uncertainty penalty are
made for a policy that looks for mistakes, and cost some accuracy here. With a fifth of the labels wrong the members
have something to disagree on.

Five members for every seed, from the same SFT weights, each with its own order of the data and its own initial head.
"best of 5" is the member that is best on validation data.

Found: not yet measured.
"""

from ml_collections import ConfigDict

from configs.sweeps import page

MEMBERS = tuple({"judge": f"member {number}"} for number in range(1, 6))
TEST = ("data=gold/helpful", "bootstrap=0")


def get_config() -> ConfigDict:
    """The sweep."""
    members = tuple(
        page.setting(at, f"seed={number}{{seed}}")  # of member 3 in the sweep's seed 1: 31
        for number, at in enumerate(MEMBERS, start=1)
    )
    together = tuple(
        page.combination({"judge": name}, MEMBERS, *TEST, *options)
        for name, options in (
            ("best of 5", ("combine=best", "validation=gold/helpful")),
            ("mean", ("combine=mean",)),
            ("worst case", ("combine=worst",)),
            ("mean less variance", ("combine=uncertainty", "penalty=0.5")),
            ("averaged weights", ("combine=weights",)),
        )
    )
    return page.sweep(
        "One reward model, and five together",
        fields=("init={sft}", "data.flipped=0.2"),
        settings=members + together,
        measures=(page.ACCURACY, page.GAIN, ("loss on test", "loss", "")),
        compare="judge",
        figures=(("accuracy", "points", "accuracy"),),
    )
