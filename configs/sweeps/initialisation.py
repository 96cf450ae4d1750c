"""Sweep over initial weights: does a reward model need to start from SFT weights?

    python experiments/sweep.py --config=configs/sweeps/initialisation.py

Claim: reward models start from the SFT model (Stiennon et al., 2009.01325; InstructGPT, 2203.02155), because judging
needs the same knowledge as answering. This matters more if there are fewer comparisons.

Three starts have the same tokenizer and the same sizes: the language model of the package after SFT on demonstrations;
that language model itself; and random weights. The language model has judged right and wrong answers in its pretraining
(preference model pretraining, 2112.00861), as in Bai et al. (2204.05862).

Result: with 500 to 8,000 comparisons random weights are 21 to 24 points worse than SFT weights (three seeds, all
intervals separated). The language model and its SFT are not distinguishable. benchmarks/RESULTS.md has the table.
"""

from ml_collections import ConfigDict

from configs.sweeps import page

DATA = (500, 1_000, 2_000, 4_000, 8_000)


def get_config() -> ConfigDict:
    """The sweep."""
    return page.sweep(
        "Accuracy by start",
        settings=page.grid(
            comparisons={size: (f"data.train=gold/helpful[:{size}]",) for size in DATA},
            start={
                "SFT": ("init={sft}",),
                "language model": ("init=pretrained",),
                "random": ("init=random",),
            },
        ),
        measures=(page.ACCURACY, page.GAIN, page.LOSS),
        compare="start",
        against=(("language model", "SFT"), ("random", "SFT"), ("language model", "random")),
        claims=tuple(
            page.claim(
                f"SFT weights are a better start than random ones, with {size:,} comparisons (2009.01325, 2203.02155).",
                {"comparisons": size, "start": "SFT"},
                {"comparisons": size, "start": "random"},
                0.02,
                published=False,
            )
            for size in DATA
        ),
        figures=(("accuracy", "curves", "accuracy", "comparisons"),),
    )
