"""Sweep over the size of the model and of the data: how does accuracy grow with both?

    python experiments/sweep.py --config=configs/sweeps/model_size.py

Claim: larger models are more accurate at every amount of data (Llama 2, 2307.09288, figure 6). On HH-RLHF the gain is
0.007 for a factor of e in parameters and 0.015 in comparisons (Bai et al., 2204.05862, section 4.5).

Up to 32,000 comparisons are shown once; 64,000 shown are all 32,000 twice, since steps are the limit (data_size). Every
size has its own SFT start. The peak learning rates fall with the square root of the width, from those of
configs/helpful.py at a width of 96; nothing was tuned for a single size.

Results, three seeds (benchmarks/RESULTS.md has the table):

- Larger is better up to 0.4M parameters if enough data are shown. The width of 96 is better than 48 by 1.7 points on
  32,000 (1.0 to 2.5) and by 0.8 on 64,000 (0.3 to 1.4), and 48 is better than 24 by 2.2 on 64,000 (0.5 to 3.8).
- The width of 192 is not distinguishable from 96 at any amount (on 64,000 -0.7, -1.3 to -0.1, over seeds only, one of
  12 such intervals). 96 has reached the ceiling there (85.1 ± 0.1 of 84.9). On 4,000 and 16,000 no size is
  distinguishable from the next.
- The fitted line rises by 0.015 (0.001 to 0.029) for a factor of e in parameters and by 0.090 (0.069 to 0.110) in
  comparisons shown. The comparisons of Bai et al. are all different ones. Accuracies scatter around the line by 3.9
  points, since the curve bends at both ends.
- The largest model gets 94.6 ± 1.3 % of the ceiling's gain in one epoch and 98.6 ± 0.2 in two.
"""

from ml_collections import ConfigDict

from configs.sweeps import page

# width, layers, heads, MLP width
SIZES = ((24, 2, 1, 64), (48, 2, 2, 128), (96, 3, 3, 256), (192, 4, 6, 512))
SHOWN = {
    4_000: ("data.train=gold/helpful[:4000]",),
    16_000: ("data.train=gold/helpful[:16000]",),
    32_000: ("data.train=gold/helpful[:32000]",),
    64_000: ("data.train=gold/helpful[:32000]", "train.epochs=2"),
}


def get_config() -> ConfigDict:
    """The sweep."""
    return page.sweep(
        "Accuracy by the size of model and data",
        starts=tuple(
            {"name": f"sft{size[0]}", "fields": (*page.SFT["fields"], *shape(*size), rate(3e-3, size[0]))}
            for size in SIZES
        ),
        settings=page.grid(
            comparisons_shown=SHOWN,
            width={size[0]: (*shape(*size), rate(1e-3, size[0]), f"init={{sft{size[0]}}}") for size in SIZES},
        ),
        measures=(
            page.ACCURACY,
            page.GAIN,
            ("parameters", "parameters.total", "count"),
            ("embedding", "parameters.embedding", "count"),
        ),
        compare="width",
        against=tuple((wider[0], size[0]) for wider, size in zip(SIZES[1:], SIZES[:-1], strict=True)),
        figures=(("accuracy", "curves", "accuracy", "parameters", "width"),),
        fit=("accuracy", "parameters", "comparisons shown"),
    )


def shape(width: int, layers: int, heads: int, mlp_width: int) -> tuple:
    """The fields of a trunk of that size."""
    return (
        f"model.width={width}",
        f"model.layers={layers}",
        f"model.heads={heads}",
        f"model.kv_heads={heads}",
        f"model.head_dim={width // heads}",
        f"model.mlp_width={mlp_width}",
    )


def rate(at_96: float, width: int) -> str:
    """The field of the peak learning rate for that width."""
    return f"train.optimizer.learning_rate={at_96 * (96 / width) ** 0.5:.2e}"
