"""How does accuracy grow with the size of the model, and of the data?

    python experiments/sweep.py --config=configs/sweeps/model_size.py

Claim: larger models are more accurate at every amount of data (Llama 2, 2307.09288, figure 6), on HH-RLHF by 0.007 for
a factor of e in parameters and 0.015 in comparisons (Bai et al., 2204.05862, section 4.5).

Every size has its own SFT start. The peak rates fall with the square root of the width, from those of
configs/helpful.py at a width of 96; nothing was tuned for a size.

Found: not yet measured.
"""

from ml_collections import ConfigDict

from configs.sweeps import page

# width, layers, heads, MLP width
SIZES = ((24, 2, 1, 64), (48, 2, 2, 128), (96, 3, 3, 256), (192, 4, 6, 512))
DATA = (4_000, 16_000, 32_000)


def get_config() -> ConfigDict:
    """The sweep."""
    return page.sweep(
        "Accuracy by the size of model and data",
        starts=tuple(
            {"name": f"sft{size[0]}", "fields": (*page.SFT["fields"], *shape(*size), rate(3e-3, size[0]))}
            for size in SIZES
        ),
        settings=page.grid(
            comparisons={size: (f"data.train=gold/helpful[:{size}]",) for size in DATA},
            width={size[0]: (*shape(*size), rate(1e-3, size[0]), f"init={{sft{size[0]}}}") for size in SIZES},
        ),
        measures=(
            page.ACCURACY,
            page.GAIN,
            ("parameters", "parameters.total", "count"),
            ("embedding", "parameters.embedding", "count"),
        ),
        compare="width",
        figures=(("accuracy", "curves", "accuracy", "parameters", "width"),),
        fit=("accuracy", "parameters", "comparisons"),
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
