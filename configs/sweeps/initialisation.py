"""Sweep over initial weights: does a reward model need to start from SFT weights?

    python experiments/sweep.py --config=configs/sweeps/initialisation.py

Claim: reward models start from the SFT model (Stiennon et al., 2009.01325; InstructGPT, 2203.02155), because judging
needs the same knowledge as answering. This matters more if there are fewer comparisons.

Three starts have the same tokenizer: weights after SFT on demonstrations, two epochs; weights after as many steps of
language modelling on the same sentences without the answers (gold/text, which is twice as large, one epoch); and random
weights.

Results, three seeds: SFT weights are best.

- On 16,000 comparisons they reach 81.6 ± 0.2 and random weights 74.8 ± 1.3, which is 6.9 points less by seed (2.2 to
  11.5).
- On 4,000 and 8,000 SFT is better too (61.7 and 71.6 against 59.5 and 65.1), but the seed matters as much there. It
  remains open if the start matters more with fewer comparisons.
- The weights of the language model are not distinguishable from random ones at any size (68.7 ± 6.8 on 16,000). On
  8,000 they are 12.4 points worse than SFT (5.8 to 19.0). There is no sign that language modelling alone helps.
- With all comparisons little of the difference is left (benchmarks/RESULTS.md).
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
