"""Does a reward model need to start from SFT weights?

    python experiments/sweep.py --config=configs/sweeps/initialisation.py

Claim: reward models start from the SFT model (Stiennon et al., 2009.01325; InstructGPT, 2203.02155), because what it
knows about answering is what judging needs; the fewer comparisons there are, the more it matters.

Three starts with the same tokenizer: weights after SFT on demonstrations, twice over; after as many steps on the same
sentences without the answering (a language model only: gold/text, which has twice as many, once over); and random ones.

Found, three seeds: SFT weights win. On 16,000 comparisons 81.6 ± 0.2 from them and 74.8 ± 1.3 from random ones, by seed
6.9 points less (2.2 to 11.5). On 4,000 and 8,000 SFT is ahead too (61.7 and 71.6 against 59.5 and 65.1), though the
seed decides as much there: whether it matters more with fewer comparisons cannot be told. The language model's weights
are not told apart from random ones at any size (68.7 ± 6.8 on 16,000), and behind SFT's on 8,000 by 12.4 (5.8 to 19.0):
no sign that the language alone helps. With all comparisons, see benchmarks/RESULTS.md, little was left of it.
"""

from ml_collections import ConfigDict

from configs.sweeps import page

TEXT = ("data.train=gold/text", "train.epochs=1", "tokenizer.path={sft}")
DATA = (4_000, 8_000, 16_000)


def get_config() -> ConfigDict:
    """The sweep."""
    return page.sweep(
        "Accuracy by start",
        starts=(
            page.SFT,
            {"name": "text", "fields": (*page.SFT["fields"], *TEXT)},
        ),
        fields=page.STEPS,
        settings=page.grid(
            comparisons={size: (f"data.train=gold/helpful[:{size}]",) for size in DATA},
            start={
                "SFT": ("init={sft}",),
                "language model": ("init={text}",),
                "random": ("init=random", "tokenizer.path={sft}"),
            },
        ),
        measures=(page.ACCURACY, page.GAIN, page.LOSS),
        compare="start",
        against=(("language model", "SFT"), ("random", "SFT"), ("language model", "random")),
        figures=(("accuracy", "curves", "accuracy", "comparisons"),),
    )
