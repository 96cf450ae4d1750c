"""Reward models on pretrained trunks: what stands behind the colon in --config=configs/helpful.py:VARIANT."""

from __future__ import annotations

from collections.abc import Callable

from ml_collections import ConfigDict

VARIANTS: dict[str, Callable[[ConfigDict], None]] = {}


def apply(config: ConfigDict, variant: str, page: str) -> None:
    """Changes the laptop-scale configuration into the variant.

    Raises:
        ValueError: there is no such variant.
    """
    if variant not in VARIANTS:
        raise ValueError(f"{page} has no variant {variant!r}: it has {', '.join(VARIANTS)}")
    VARIANTS[variant](config)


def variant(name: str) -> Callable[[Callable[[ConfigDict], None]], Callable[[ConfigDict], None]]:
    """Registers a function that changes the configuration as the variant `name`."""

    def register(function: Callable[[ConfigDict], None]) -> Callable[[ConfigDict], None]:
        VARIANTS[name] = function
        return function

    return register


def pretrained(
    config: ConfigDict,
    hub_id: str,
    *,
    init: str,
    batch_size: int,
    learning_rate: float,
    compute_dtype: str,
    template: str = "transcript",
    max_prompt: int = 1024,
    max_response: int = 511,
) -> None:
    """A trunk from the hub, trained for one epoch on HH-RLHF."""
    config.init = init
    config.data.holdout = 0.01
    config.model = ConfigDict()
    config.model.pretrained = hub_id  # on the hub; fetched once, safetensors only
    config.model.path = ""  # a local folder in its place, for machines without a network
    config.model.compute_dtype = compute_dtype
    config.tokenizer = ConfigDict()  # the checkpoint brings its own
    config.tokenizer.template = template
    config.tokenizer.max_prompt = max_prompt
    config.tokenizer.max_response = max_response
    for stage in (config.train, config.sft):
        stage.batch_size = batch_size
        stage.epochs = 1
        stage.optimizer.learning_rate = learning_rate
        stage.evaluate_every = 500
        stage.checkpoint_every = 500


@variant("minilm")
def minilm(config: ConfigDict) -> None:
    """MiniLM, an encoder of 22M parameters: the smallest real start, trainable on a laptop."""
    pretrained(
        config,
        "sentence-transformers/all-MiniLM-L6-v2",
        init="pretrained",
        batch_size=16,
        learning_rate=5e-5,
        compute_dtype="float32",
        max_prompt=320,
        max_response=191,
    )


@variant("tinyllama")
def tinyllama(config: ConfigDict) -> None:
    """TinyLlama 1.1B Chat."""
    pretrained(
        config,
        "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
        init="pretrained",
        batch_size=64,
        learning_rate=1e-5,
        compute_dtype="bfloat16",
        template="",
    )
