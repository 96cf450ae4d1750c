"""Sweep over kinds of labels at equal cost: rankings of K responses or pairs?

    python experiments/sweep.py --config=configs/sweeps/kwise_labels.py

Claim: rankings of K = 4 to 9 responses make labels cheaper (InstructGPT, 2203.02155, section 3.5). A rater reads K
responses and gives K(K-1)/2 pairs; as separate pairs, each of these would cost a reading of two responses.

The cost here is the number of responses that raters read. A ranking has 3.99 responses on average and a pair has two.
Therefore N rankings are compared with 2 N pairs, which have twice as many prompts.

Result: for 4,000 responses read, rankings are 0.9 points better (0.2 to 1.6); for 2,000 and 8,000 the intervals include
zero (+0.8 and +0.5). benchmarks/RESULTS.md has the table.
"""

from ml_collections import ConfigDict

from configs.sweeps import page

SEED_SD = 0.009  # the two settings of a seed have different data
RANKINGS = (500, 1_000, 2_000)


def get_config() -> ConfigDict:
    """The sweep."""
    settings = tuple(
        page.setting({"responses read": 4 * count, "judged as": kind}, f"data.train=gold/helpful[:{prompts}]", *more)
        for count in RANKINGS
        for kind, prompts, more in (
            ("pairs", 2 * count, ("data.responses=2", "train.batch_size=16")),
            ("rankings", count, ()),
        )
    )
    return page.sweep(
        "Rankings against pairs, by responses read",
        seeds=8,
        fields=("init={sft}",),
        settings=settings,
        measures=(page.ACCURACY, page.GAIN, ("responses", "data_audit.json:sets.train.responses", "count")),
        compare="judged as",
        claims=tuple(
            page.claim(
                f"Rankings are worth more than pairs, for {4 * count:,} responses read (2203.02155, section 3.5).",
                {"responses read": 4 * count, "judged as": "rankings"},
                {"responses read": 4 * count, "judged as": "pairs"},
                0.01,
                published=False,
            )
            for count in RANKINGS
        ),
        assumed={**page.ASSUMED, "seed_sd": SEED_SD},
        figures=(("accuracy", "curves", "accuracy", "responses read"),),
    )
