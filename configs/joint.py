"""Reward model with a helpfulness and a safety head on one trunk, trained on a laptop.

    python experiments/train.py --config=configs/joint.py

Differs from configs/helpful.py, which explains every field, in the heads and the data. Every comparison states the head
that it trains. The two heads disagree on unsafe requests, so one score for both would have to compromise (Llama 2,
2307.09288, section 3.2.2). With a pretrained trunk of configs/variants.py, as in configs/joint.py:gpt2, the data are
all of HH-RLHF.
"""

from ml_collections import ConfigDict

from configs import helpful


def get_config(variant: str = "") -> ConfigDict:
    """Returns the configuration; configs/helpful.py explains every field."""
    config = helpful.get_config(variant)
    config.heads = ("helpful", "safety")
    config.gate = ("helpful", "safety")
    if variant not in ("", helpful.SCRATCH):
        config.data.train = config.data.eval = "hh_rlhf/helpful,hh_rlhf/harmless-base"
    else:
        # Helpfulness is harder to learn, so it has more data.
        config.data.train = "gold/helpful[:90%],gold/safety[:36%]"
        config.data.eval = "gold/both"
    return config
