"""Sweep over the size of the model and of the data: how does accuracy grow with both?

    python experiments/sweep.py --config=configs/sweeps/model_size.py

Claim: larger models are more accurate at every amount of data (Llama 2, 2307.09288, figure 6). On HH-RLHF the gain is
0.007 for a factor of e in parameters and 0.015 in comparisons (Bai et al., 2204.05862, section 4.5).

Every size has its own language model, made by experiments/pretrain.py with the same texts, and its own SFT start. The
peak learning rates fall with the square root of the width, from those of configs/helpful.py at a width of 96; nothing
was tuned for a single size.

Result (three seeds, benchmarks/RESULTS.md): accuracy rises at every step in size and data in the mean. With 16,000
comparisons mini is ahead of tiny by 0.4 points (-0.4 to +1.3: not told), small of mini by 11.9 (10.7 to 13.0), and
medium of small by 1.9 (0.8 to 3.0). small is the first language model that reads its prompts, so no smooth law fits.
"""

from ml_collections import ConfigDict

from configs.sweeps import page

SIZES = {"tiny": 48, "mini": 64, "small": 96, "medium": 144}  # language models of the package -> width
# Sizes next to each other, and 0.007 ln of the ratio of their parameters (172,512, 283,264, 566,208, 1,181,088).
NEIGHBOURS = {("mini", "tiny"): 0.0035, ("small", "mini"): 0.0048, ("medium", "small"): 0.0051}
DATA = (500, 1_000, 2_000, 4_000, 8_000, 16_000)


def get_config() -> ConfigDict:
    """The sweep."""
    return page.sweep(
        "Accuracy by the size of model and data",
        starts=tuple({"name": name, "fields": (*page.SFT["fields"], *trunk(name), rate(3e-4, name))} for name in SIZES),
        settings=page.grid(
            comparisons={size: (f"data.train=gold/helpful[:{size}]",) for size in DATA},
            model={name: (*trunk(name), rate(6e-4, name), f"init={{{name}}}") for name in SIZES},
        ),
        measures=(
            page.ACCURACY,
            page.GAIN,
            page.LOSS,
            ("parameters", "parameters.total", "count"),
            ("embedding", "parameters.embedding", "count"),
        ),
        compare="model",
        against=tuple(NEIGHBOURS),
        claims=tuple(
            page.claim(
                f"{larger} is more accurate than {smaller}: 0.7 points for a factor of e in parameters (2204.05862).",
                {"comparisons": DATA[-1], "model": larger},
                {"comparisons": DATA[-1], "model": smaller},
                effect,
            )
            for (larger, smaller), effect in NEIGHBOURS.items()
        ),
        figures=(("accuracy", "curves", "accuracy", "parameters", "model"),),
        fit=("accuracy", "parameters", "comparisons"),
        power_law=("loss", "parameters", "comparisons"),
    )


def trunk(name: str) -> tuple:
    """The fields of a language model of the package."""
    return (f"model.pretrained=embedded/{name}",)


def rate(of_small: float, name: str) -> str:
    """The field of the peak learning rate for that size."""
    return f"train.optimizer.learning_rate={of_small * (SIZES['small'] / SIZES[name]) ** 0.5:.2e}"
