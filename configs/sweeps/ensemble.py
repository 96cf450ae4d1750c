"""Are several reward models better than one?

    python experiments/sweep.py --config=configs/sweeps/ensemble.py

Claims: an ensemble judges new data better than its members, a little (Coste et al., 2310.02743), and averaged weights
do nearly as well for the price of one (WARM, Ramé et al., 2401.12187); the worst case and the uncertainty penalty are
made for a policy that looks for mistakes, and cost some accuracy here. Half of the comparisons leave members something
to disagree on; labels turned around would as well, but then not all of them learn the task (loss.py).

Five members for every seed, from the same SFT weights, each with its own order of the data and its own initial head;
"best of 5" is the one that is best on validation data. Weights can be averaged only where the heads began alike too, so
there are five more members with one initial head, and the mean of their scores beside their averaged weights.

Found, five seeds: yes. The mean of five is 1.2 points better than the best of them (0.5 to 1.8), 83.4 ± 0.3 against
82.2 ± 0.5; a single member has 79.3 to 81.4. The worst case costs 2.0 points against the mean (1.5 to 2.4), the penalty
on variance 2.8 (1.7 to 3.9), as expected. Averaged weights are not reproduced: 72.2 ± 2.5, worse than the mean of the
same members by 11.3 (5.4 to 17.1) and than the best single model by 10.0 (4.4 to 15.6).
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
        page.setting(at, f"seed={number}{{seed}}", *fields)  # of member 3 in the sweep's seed 1: 31
        for kind, fields in ((OWN, ()), (SHARED, ("init_seed={seed}",)))
        for number, at in enumerate(names[kind], start=1)
    )
    together = tuple(
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
        fields=("init={sft}", "data.train=gold/helpful[:16000]", *page.STEPS),
        settings=members + together,
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
        figures=(("accuracy", "points", "accuracy"),),
    )
