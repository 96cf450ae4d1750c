"""Sweep over batches of pairs: should all pairs of a ranking be one element of a batch?

    python experiments/sweep.py --config=configs/sweeps/kwise.py

Claim: yes. If the pairs of a ranking are shuffled into the data as independent examples, the model overfits within one
epoch, because each response then takes part in K - 1 separate gradient steps (InstructGPT, 2203.02155, section 3.5).

Both variants see the same pairs equally often and in about as many steps: a batch has 16 comparisons, which have 123
pairs on average, or 128 pairs. Together, a comparison has the weight 1 for every K; shuffled, its weight is its number
of pairs, as in InstructGPT's contrast. The accuracy over pairs weighs comparisons by their pairs too; the share of
correct top responses counts every comparison once. Overfitting appears in the loss on held-out data before it appears
in the accuracy.

Results, three seeds (benchmarks/RESULTS.md has the table): the claim is not reproduced in loss or accuracy.

- After two epochs shuffled pairs are better by 3.4 points (0.9 to 5.9). From the second to the third epoch their loss
  on held-out data does not rise (-0.012, -0.034 to +0.010): a task that is not yet learned gains from repeated data.
- Overconfidence grows in both variants. From one epoch to three the best temperature on validation data rises by 0.32
  (0.04 to 0.60) for shuffled pairs, and by 0.18 (0.05 to 0.32) for pairs together. The calibration error is then 1.9
  points larger for shuffled pairs (0.3 to 3.4); their temperature is not distinguishable (+0.16, -0.17 to +0.49).
- Shuffled pairs cost more: one epoch computes 2.9 million tokens for 79.7 %, three epochs together compute 1.9 million
  for 83.0 (+3.3, -4.6 to +11.2).
"""

from ml_collections import ConfigDict

from configs.sweeps import page


def get_config() -> ConfigDict:
    """The sweep."""
    return page.sweep(
        "Pairs of a ranking, together or shuffled",
        fields=("init={sft}", "data.train=gold/helpful[:8000]", *page.STEPS),
        settings=page.grid(
            epochs={count: (f"train.epochs={count}",) for count in (1, 2, 3)},
            pairs={
                "together": ("data.pairs=together", "train.batch_size=16"),
                "shuffled": ("data.pairs=apart", "train.batch_size=128"),
            },
        ),
        measures=(
            page.ACCURACY,
            page.LOSS,
            ("top response right", "rankings.any_k.top1", "%"),
            ("calibration error", "calibration_error", "%"),
            ("temperature", "calibration.helpful.tempered.temperature", ""),
        ),
        compare="pairs",
        figures=(("loss", "curves", "loss", "epochs"), ("accuracy", "curves", "accuracy", "epochs")),
    )
