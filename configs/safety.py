"""A safety reward model, from nothing, on a laptop.

    python experiments/train.py --config=configs/safety.py

As configs/helpful.py, whose page explains every field, on the safety judgements of the gold corpus: refusing an unsafe
request is better than complying, and refusing a harmless one is worse than answering.
"""

from ml_collections import ConfigDict

from configs import helpful


def get_config(variant: str = "") -> ConfigDict:
    """The configuration; see configs/helpful.py for what each field means."""
    config = helpful.get_config(variant)
    config.heads = ("safety",)
    config.data.train = "gold/safety"
    config.data.eval = "gold/safety"
    return config
