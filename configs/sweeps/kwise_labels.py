"""Sweep over kinds of labels at equal cost: rankings of K responses or pairs?

    python experiments/sweep.py --config=configs/sweeps/kwise_labels.py

Claim: rankings of K = 4 to 9 responses make labels cheaper (InstructGPT, 2203.02155, section 3.5). A rater reads K
responses and gives K(K-1)/2 pairs; as separate pairs, each of these would cost a reading of two responses.

The cost here is the number of responses that raters read. A ranking has 3.99 responses on average and a pair has two.
Therefore N rankings are compared with 2 N pairs, which have twice as many prompts.

Results, three seeds: there is no distinguishable difference at any number of responses read. At 64,000, where both
learn the task, rankings reach 81.6 ± 0.2 and pairs 82.1 ± 0.6 (-0.5, -3.2 to +2.2). At 8,000 to 32,000 seeds differ in
how soon they find the task; rankings are ahead by 0.5, 3.2 and 6.5 points, with zero well inside every interval. The
119,612 pairs of the rankings are worth no more than 31,077 pairs of twice as many prompts. InstructGPT saves the time
that a rater needs to read a prompt, which is not counted here.
"""

from ml_collections import ConfigDict

from configs.sweeps import page

RANKINGS = (2_000, 4_000, 8_000, 16_000)


def get_config() -> ConfigDict:
    """The sweep."""
    settings = tuple(
        page.setting({"responses read": 4 * count, "judged as": kind}, f"data.train=gold/helpful[:{prompts}]", *more)
        for count in RANKINGS
        for kind, prompts, more in (
            ("pairs", 2 * count, ("data.responses=2", "train.batch_size=32")),
            ("rankings", count, ()),
        )
    )
    return page.sweep(
        "Rankings against pairs, by responses read",
        fields=("init={sft}", *page.STEPS),
        settings=settings,
        measures=(page.ACCURACY, page.GAIN, ("responses", "data_audit.json:sets.train.responses", "count")),
        compare="judged as",
        figures=(("accuracy", "curves", "accuracy", "responses read"),),
    )
