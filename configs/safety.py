"""Safety reward model, trained on a laptop.

    python experiments/train.py --config=configs/safety.py

Like configs/helpful.py, which explains every field, but on the safety judgements of the gold corpus: refusing an unsafe
request is better than complying, and refusing a harmless one is worse than answering. The corpus also says which
responses are unsafe: with `--config.loss.safety_coef=0.1` the model learns from that too, and a raw score below 0 then
calls a response unsafe. With a pretrained trunk of configs/variants.py, as configs/safety.py:gpt2, on the harmlessness
judgements of HH-RLHF, which have no such labels.
"""

from ml_collections import ConfigDict

from configs import helpful


def get_config(variant: str = "") -> ConfigDict:
    """Returns the configuration; configs/helpful.py explains every field."""
    config = helpful.get_config(variant)
    config.heads = ("safety",)
    config.data.train = config.data.eval = "gold/safety"
    if variant not in ("", helpful.SCRATCH):
        config.data.train = config.data.eval = "hh_rlhf/harmless-base"
    return config
