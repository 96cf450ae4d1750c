"""What does a label buy: rankings of K responses against pairs?

    python experiments/sweep.py --config=configs/sweeps/kwise_labels.py

Claim: ranking K = 4 to 9 responses at a time makes labels cheaper (InstructGPT, 2203.02155, section 3.5): a rater reads
K responses and gives K(K-1)/2 pairs, of which pairs alone would cost as many readings of two.

What is paid for is responses read. A ranking here has 3.99 responses on average, a pair has two: N rankings are set
against 2 N pairs, on as many prompts as they have.

Found: not yet measured.
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
