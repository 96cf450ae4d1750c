"""What does a label buy: rankings of K responses against pairs?

    python experiments/sweep.py --config=configs/sweeps/kwise_labels.py

Claim: ranking K = 4 to 9 responses at a time makes labels cheaper (InstructGPT, 2203.02155, section 3.5): a rater reads
K responses and gives K(K-1)/2 pairs, of which pairs alone would cost as many readings of two.

What is paid for is responses read. A ranking here has 3.99 responses on average, a pair has two: N rankings are set
against 2 N pairs, on as many prompts as they have.

Found, three seeds: not told apart at any number of responses read. At 64,000, where both learn the task, rankings reach
81.6 ± 0.2 and pairs 82.1 ± 0.6 (-0.5, -3.2 to +2.2); at 8,000 to 32,000, where seeds scatter by how soon they find it,
rankings are ahead by 0.5, 3.2 and 6.5 points, with zero well inside every interval. The rankings' 119,612 pairs buy no
more than 31,077 pairs of twice as many prompts: what InstructGPT saves is in raters' work on a prompt, which is not
counted here.
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
