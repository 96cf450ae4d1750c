"""Sweep over the number of comparisons: how does accuracy grow with it?

    python experiments/sweep.py --config=configs/sweeps/data_size.py

Claim: every doubling gains about the same, without a plateau (Bai et al., 2204.05862, section 4.5: 0.015 for a factor
of e on helpfulness; Llama 2, 2307.09288, figure 6). With fewer than about 2,000 comparisons a model learns next to
nothing (Gao et al., 2210.10760, section 3.3). Here the ceiling is known, so that a straight line must end at some size.

One epoch of fewer comparisons also has fewer steps, and most of the difference between the sizes comes from that.
Therefore every size is also trained for as many steps as all of the data take, by repeating the data.

Results, three seeds:

- A small data set lacks steps. Shown once, up to 4,000 comparisons teach next to nothing (55.2 to 56.9 %), as Gao et
  al. report for 2,000. The model finds the task between 4,000 and 16,000 (+10.0 and +14.2 points, with intervals that
  include zero); 32,000 reach 83.5 ± 1.0.
- Shown repeatedly, 2,000 reach 75.5 ± 1.0 (+19.4 over once, 15.6 to 23.2), and 4,000 reach 81.3 ± 0.5 (+24.4, 21.0 to
  27.9). 8,000 shown four times reach 83.8 ± 0.2, which is not distinguishable from 32,000 shown once (+0.3, -3.5 to
  +4.2).
- With repetition a doubling gains 7.2, 9.0, 5.8, 2.5 and 0.0 points from 500 on. The gain is not constant, and from
  8,000 on there is none in the same number of steps (model_size has twice as many, with which all 32,000 reach the
  ceiling).
- Repetition of 2,000 comparisons or fewer makes the models much too confident: their loss on the test set is 3.56, 2.27
  and 1.25; guessing has 0.69.
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
