"""How does accuracy grow with the number of comparisons?

    python experiments/sweep.py --config=configs/sweeps/data_size.py

Claim: by about the same for every doubling, without a plateau (Bai et al., 2204.05862, section 4.5: 0.015 for a factor
of e on helpfulness; Llama 2, 2307.09288, figure 6); below some 2,000 comparisons next to nothing is learned (Gao et
al., 2210.10760, section 3.3). Here a ceiling is known, which a straight line must leave in the end.

Found: not yet measured.
"""

from ml_collections import ConfigDict

from configs.sweeps import page

SIZES = (500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000)


def get_config() -> ConfigDict:
    """The sweep."""
    return page.sweep(
        "Accuracy by the number of comparisons",
        fields=("init={sft}",),
        settings=page.grid(comparisons={size: (f"data.train=gold/helpful[:{size}]",) for size in SIZES}),
        measures=(page.ACCURACY, page.GAIN, page.LOSS),
        compare="comparisons",
        figures=(("accuracy", "curves", "accuracy", "comparisons"),),
        fit=("accuracy", "comparisons"),
    )
