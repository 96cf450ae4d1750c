"""One trunk with a helpfulness and a safety head, from nothing, on a laptop.

    python experiments/train.py --config=configs/joint.py

As configs/helpful.py, whose page explains every field. Every comparison says which head it trains; the two disagree on
unsafe requests, which is why one score for both would have to compromise (Llama 2, 2307.09288, section 3.2.2). With a
pretrained trunk of configs/variants.py, as configs/joint.py:gpt2, on all of HH-RLHF.
"""

from ml_collections import ConfigDict

from configs import helpful


def get_config(variant: str = "") -> ConfigDict:
    """The configuration; see configs/helpful.py for what each field means."""
    config = helpful.get_config(variant)
    config.heads = ("helpful", "safety")
    config.gate = ("helpful", "safety")
    if variant:
        config.data.train = config.data.eval = "hh_rlhf/helpful,hh_rlhf/harmless-base"
    else:
        # Helpfulness is the harder of the two to learn.
        config.data.train = "gold/helpful[:90%],gold/safety[:36%]"
        config.data.eval = "gold/both"
    return config
