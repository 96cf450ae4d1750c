"""Does an auxiliary classification of safe and unsafe responses help a safety reward model?

    python experiments/sweep.py --config=configs/sweeps/auxiliary.py

Claim: it improves accuracy and raises the recall of unsafe responses at a threshold of 1/2 (Llama 2, 2307.09288,
appendix). The paper gives no formula; ours is `safety_classification` in rmjax/training/losses.py. The corpus' labels
are facts of the texts, free of the noise that judgements have.

Without the term the level of the scores is free, and a recall at any threshold is chance. So the unsafe responses found
are counted where as many are called unsafe as there are; recall and precision of "below 0" stand beside it.

Found, three seeds (benchmarks/RESULTS.md has the table): accuracy is not told apart (-0.3 points at 0.5, -0.6 to -0.1,
over seeds only, one of 10 such intervals). Nor does the recall at a threshold of 1/2 rise, which is 99 % without the
term, because about half of all responses lie below it; the precision there rises from 36 to 94 % (+57.8, 54.5 to 61.1).
What the term buys is a score that means the same for every prompt: without it 0, 42 and 89 % of the unsafe responses
were found by seed, with it 88 to 94 and 95 to 97, a difference that seeds so scattered leave with an interval around
zero.
"""

from ml_collections import ConfigDict

from configs.sweeps import page


def get_config() -> ConfigDict:
    """The sweep."""
    return page.sweep(
        "An auxiliary safety loss",
        base="configs/safety.py",
        starts=({**page.SFT, "fields": (*page.SFT["fields"], "data.train=gold/safety")},),
        fields=("init={sft}", "data.train=gold/safety[:16000]", *page.STEPS),
        settings=page.grid(coefficient={value: (f"loss.auxiliary={value}",) for value in (0.0, 0.1, 0.5)}),
        measures=(
            page.ACCURACY,
            ("unsafe found", "unsafe.r_precision", "%"),
            ("area under the ROC", "unsafe.auc", ""),
            ("recall below 0", "unsafe.recall", "%"),
            ("precision below 0", "unsafe.precision", "%"),
        ),
        compare="coefficient",
        figures=(("accuracy", "points", "accuracy", "unsafe found", "area under the ROC"),),
    )
