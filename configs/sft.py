"""A language model on demonstrations (SFT), for reward models to start from.

    python experiments/sft.py --config=configs/sft.py
    python experiments/train.py --config=configs/helpful.py --config.init=runs/sft

Demonstrations are JSON lines, `{"prompt", "response"}` or `{"messages"}`, or a source of comparisons, whose preferred
responses are then imitated. With a pretrained trunk of configs/variants.py, those of HH-RLHF; the reward model names
the same variant:

    python experiments/sft.py --config=configs/sft.py:gpt2
    python experiments/train.py --config=configs/helpful.py:gpt2 --config.init=runs/sft-gpt2
"""

from ml_collections import ConfigDict

from configs import helpful, variants


def get_config(variant: str = "") -> ConfigDict:
    """The configuration; see configs/helpful.py for what each field means.

    Raises:
        ValueError: there is no such variant, or it is an encoder.
    """
    base = helpful.get_config(variant)
    if variant in variants.ENCODERS:
        raise ValueError(
            f"the variant {variant!r} is an encoder, which cannot learn to write: its reward model starts without SFT, "
            f"--config=configs/helpful.py:{variant}"
        )
    config = ConfigDict()
    config.seed = base.seed
    config.init_seed = base.init_seed
    config.init = "pretrained" if variant else "random"  # or the folder of an SFT run to go on from
    config.data = ConfigDict()
    config.data.train = base.data.train  # demonstrations to learn from
    config.data.holdout = base.data.holdout
    config.data.manual_dir = base.data.manual_dir
    config.tokenizer = base.tokenizer
    config.model = base.model
    config.train = base.sft
    config.parallel = base.parallel
    return config
