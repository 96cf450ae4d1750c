"""Language model trained on demonstrations (SFT), for the initial weights of reward models.

    python experiments/sft.py --config=configs/sft.py
    python experiments/train.py --config=configs/helpful.py --config.init=runs/sft

Demonstrations are JSON lines, `{"prompt", "response"}` or `{"messages"}`, or the preferred responses of a source of
comparisons. For your own use a pretrained trunk, such as `gpt2`, or `scratch`, which needs many more. With a pretrained
trunk of configs/variants.py, they come from HH-RLHF. The reward model uses the same variant:

    python experiments/sft.py --config=configs/sft.py:gpt2
    python experiments/train.py --config=configs/helpful.py:gpt2 --config.init=runs/sft-gpt2
"""

from ml_collections import ConfigDict

from configs import helpful, variants


def get_config(variant: str = "") -> ConfigDict:
    """Returns the configuration; configs/helpful.py explains every field.

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
    config.init = "random" if variant == helpful.SCRATCH else "pretrained"  # or the folder of an SFT run to continue
    config.loggers = base.loggers
    config.data = ConfigDict()
    config.data.train = base.data.train  # training demonstrations, by source name (rmjax/data/sources.py)
    config.data.holdout = base.data.holdout
    config.data.manual_dir = base.data.manual_dir
    for name in helpful.READING:
        config.data[name] = base.data[name]
    config.tokenizer = base.tokenizer
    config.model = base.model
    config.lora = base.lora
    config.train = base.sft
    config.parallel = base.parallel
    return config
