"""Sweep over low-rank adapters: how much accuracy do adapters on a frozen trunk reach?

    python experiments/sweep.py --config=configs/sweeps/lora.py

Claim: adapters on all linear maps learn as well as full fine-tuning if the data are not too many for their rank, with
ten times its learning rate (Hu et al. 2106.09685; Schulman et al., "LoRA Without Regret", 2025).

All runs start from the same SFT weights, on 4,000 comparisons. Full fine-tuning has the rate of configs/helpful.py,
6e-4.

Result (five seeds, benchmarks/RESULTS.md): at 2.5 times the rate of full fine-tuning adapters of rank 16 learn as well
(+0.0 points, -0.5 to +0.5), and those of rank 4 are 0.9 points worse (0.4 to 1.4). At ten times the rate they learn
nothing (52 %).
"""

from ml_collections import ConfigDict

from configs.sweeps import page


def adapters(rank: int, rate: float) -> tuple:
    """The fields of adapters on all linear maps with alpha 32."""
    return (f"lora.rank={rank}", f"train.optimizer.learning_rate={rate}")


def get_config() -> ConfigDict:
    """The sweep."""
    return page.sweep(
        "Accuracy by rank of the adapters",
        seeds=5,
        fields=("data.train=gold/helpful[:4000]", "init={sft}"),
        settings=page.grid(
            trained={
                "all": (),
                "rank 4": adapters(4, 1.5e-3),
                "rank 16": adapters(16, 1.5e-3),
                "rank 64": adapters(64, 1.5e-3),
                "rank 16, rate 6e-4": adapters(16, 6e-4),
                "rank 16, rate 3e-3": adapters(16, 3e-3),
                "rank 16, rate 6e-3": adapters(16, 6e-3),
            }
        ),
        measures=(page.ACCURACY, page.GAIN, page.LOSS),
        compare="trained",
        claims=tuple(
            page.claim(text, {"trained": trained}, {"trained": "all"}, 0.01, published=False, equal=True)
            for text, trained in (
                ("Adapters learn as well as full fine-tuning (2106.09685).", "rank 16"),
                ("They do at ten times its rate (Schulman et al., 2025).", "rank 16, rate 6e-3"),
            )
        ),
        figures=(("accuracy", "points", "accuracy", "share of the ceiling's gain"),),
    )
