"""How does accuracy grow with the number of comparisons?

    python experiments/sweep.py --config=configs/sweeps/data_size.py

Claim: by about the same for every doubling, without a plateau (Bai et al., 2204.05862, section 4.5: 0.015 for a factor
of e on helpfulness; Llama 2, 2307.09288, figure 6); below some 2,000 comparisons next to nothing is learned (Gao et
al., 2210.10760, section 3.3). Here a ceiling is known, which a straight line must leave in the end.

One epoch of less data is also fewer steps, and here most of what separates the sizes: so every size is also trained for
as many steps as all of the data take, by showing it repeatedly.

Found, three seeds: what few comparisons lack is steps. Shown once, up to 4,000 of them teach next to nothing (55.2 to
56.9 %), as Gao et al. say of 2,000; between 4,000 and 16,000 lies the moment at which the task is found (+10.0 and
+14.2 points, with intervals that reach zero), and 32,000 have 83.5 ± 1.0. Shown repeatedly, 2,000 give 75.5 ± 1.0
(+19.4 on once, 15.6 to 23.2), 4,000 give 81.3 ± 0.5 (+24.4, 21.0 to 27.9), and 8,000 shown four times 83.8 ± 0.2, which
is not told apart from 32,000 shown once (+0.3, -3.5 to +4.2). A doubling is then worth 7.2, 9.0, 5.8, 2.5 and 0.0
points from 500 on: no constant gain, and nothing more from 8,000 on in as many steps (model_size has twice as many,
which take all 32,000 to the ceiling). Of 2,000 or fewer, repetition makes judges that are far too sure: their loss on
test is 3.56, 2.27 and 1.25, where guessing has 0.69.
"""

from ml_collections import ConfigDict

from configs.sweeps import page

SIZES = (500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000)


def get_config() -> ConfigDict:
    """The sweep."""
    return page.sweep(
        "Accuracy by the number of comparisons",
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
        figures=(("accuracy", "curves", "accuracy", "comparisons"),),
    )
