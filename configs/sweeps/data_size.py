"""Sweep over the number of comparisons: how does accuracy grow with it?

    python experiments/sweep.py --config=configs/sweeps/data_size.py

Claim: every doubling gains about the same, without a plateau (Bai et al., 2204.05862, section 4.5: 0.015 for a factor
of e on helpfulness; Llama 2, 2307.09288, figure 6). With fewer than about 2,000 comparisons a model learns next to
nothing (Gao et al., 2210.10760, section 3.3). Here the ceiling is known, so that a straight line must end at some size.

One epoch of fewer comparisons also has fewer steps. Therefore every size is also trained for as many steps as the
largest one, by repeating the data. The sweep model_size.py goes on to 16,000 comparisons.

Result (eight seeds, benchmarks/RESULTS.md): every doubling from 500 to 8,000 comparisons adds accuracy, but less and
less: 3.7 points (1.4 to 5.9), 1.8, 1.7 and 0.7 (0.3 to 1.2). Shown repeatedly, 500 comparisons have 2.5 points more in
the mean than shown once, and 4,000 have 0.6 more; the loss on test of 500 is then 1.69 (chance: 0.69).
"""

from ml_collections import ConfigDict

from configs.sweeps import page

DOUBLING = 0.0104  # 0.015 ln 2
SIZES = (500, 1_000, 2_000, 4_000, 8_000)


def get_config() -> ConfigDict:
    """The sweep."""
    return page.sweep(
        "Accuracy by the number of comparisons",
        seeds=8,
        fields=("init={sft}",),
        settings=tuple(
            page.setting(
                {"shown": shown, "comparisons": size}, f"data.train=gold/helpful[:{size}]", f"train.epochs={epochs}"
            )
            for size in SIZES
            for shown, epochs in (("once", 1), ("repeatedly", SIZES[-1] // size))
            if shown == "once" or epochs > 1
        ),
        measures=(page.ACCURACY, page.GAIN, page.LOSS),
        compare="comparisons",
        against=tuple(zip(SIZES[1:], SIZES[:-1], strict=True)),
        claims=tuple(
            page.claim(
                f"A doubling to {more:,} comparisons adds 1.0 points (2204.05862, section 4.5).",
                {"shown": "once", "comparisons": more},
                {"shown": "once", "comparisons": fewer},
                DOUBLING,
            )
            for more, fewer in zip(SIZES[1:], SIZES[:-1], strict=True)
        ),
        figures=(("accuracy", "curves", "accuracy", "comparisons"),),
    )
