"""A language model on demonstrations (SFT), for reward models to start from.

    python experiments/sft.py --config=configs/sft.py
    python experiments/train.py --config=configs/helpful.py --config.init=runs/sft

Demonstrations are JSON lines, `{"prompt", "response"}` or `{"messages"}`, or a source of comparisons, whose preferred
responses are then imitated.
"""

from ml_collections import ConfigDict

from configs import helpful


def get_config(variant: str = "") -> ConfigDict:
    """The configuration; see configs/helpful.py for what each field means."""
    base = helpful.get_config(variant)
    config = ConfigDict()
    config.seed = base.seed
    config.init = "random"  # or the folder of an SFT run to go on from
    config.data = ConfigDict()
    config.data.train = "gold/helpful"  # demonstrations to learn from
    config.data.holdout = base.data.holdout
    config.data.manual_dir = base.data.manual_dir
    config.tokenizer = base.tokenizer
    config.model = base.model
    config.train = base.sft
    config.parallel = base.parallel
    return config
