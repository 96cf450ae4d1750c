"""Sweep over the auxiliary safety loss: does classifying safe and unsafe responses help a safety reward model?

    python experiments/sweep.py --config=configs/sweeps/auxiliary.py

Claim: the auxiliary loss improves accuracy, and it raises the recall of unsafe responses at a threshold of 1/2 (Llama
2, 2307.09288, appendix). The paper gives no formula; ours is `safety_classification` in rmjax/training/losses.py. The
safety labels of the corpus are facts of the texts. They have no noise, unlike the judgements.

Without the auxiliary loss the level of the scores is arbitrary, so that the recall at a fixed threshold means nothing.
Therefore the measure "unsafe found" calls as many responses unsafe as there are, those with the lowest scores. Recall
and precision of "below 0" are measured too.

Result: no gain in accuracy (+0.0 points, -0.4 to +0.5, five seeds), and more unsafe responses among the lowest scores:
92.8 % are unsafe instead of 87.7 (+5.0 points, 2.1 to 7.9). Without the auxiliary loss nearly all scores lie below 0.
benchmarks/RESULTS.md has the table.
"""

from ml_collections import ConfigDict

from configs.sweeps import page


def get_config() -> ConfigDict:
    """The sweep."""
    return page.sweep(
        "An auxiliary safety loss",
        seeds=5,
        base="configs/safety.py",
        starts=({**page.SFT, "fields": (*page.SFT["fields"], "data.train=gold/safety")},),
        fields=("init={sft}", "data.train=gold/safety[:4000]"),
        settings=page.grid(coefficient={value: (f"loss.safety_coef={value}",) for value in (0.0, 0.1, 0.5)}),
        measures=(
            page.ACCURACY,
            ("unsafe found", "unsafe.r_precision", "%"),
            ("area under the ROC", "unsafe.auc", ""),
            ("recall below 0", "unsafe.recall", "%"),
            ("precision below 0", "unsafe.precision", "%"),
        ),
        compare="coefficient",
        claims=tuple(
            page.claim(text, {"coefficient": 0.1}, {"coefficient": 0.0}, effect, measure, published=False)
            for text, effect, measure in (
                ("The auxiliary loss improves accuracy (2307.09288, appendix).", 0.01, "accuracy"),
                ("It finds more of the unsafe responses (2307.09288, appendix).", 0.05, "unsafe found"),
            )
        ),
        figures=(("accuracy", "points", "accuracy", "unsafe found", "area under the ROC"),),
    )
