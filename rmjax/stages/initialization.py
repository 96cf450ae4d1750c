"""What a run starts from: tokenizer and trunk, with weights drawn at random, of Hugging Face, or of an SFT run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from rmjax.data.pretrained_tokenizer import open_tokenizer
from rmjax.data.token_cache import cached_bpe
from rmjax.data.tokenizer import Tokenizer
from rmjax.errors import InputError
from rmjax.models.config import TransformerConfig
from rmjax.models.pretrained import open_pretrained
from rmjax.parallel.layout import Layout
from rmjax.scoring.checkpoint import find_checkpoint, load_tokenizer, load_tree
from rmjax.scoring.contract import Contract, read_contract
from rmjax.scoring.hub import check_tokenizer
from rmjax.stages.datasets import Config

ARROW = " -> "


@dataclasses.dataclass(frozen=True)
class Initialization:
    """What training begins with.

    Attributes:
        tokenizer: the tokenizer.
        trunk: the trunk's settings.
        weights: shapes of the parameters and the layout they are for -> those not drawn at random, plain, by part.
        origin: where they come from: random or a checkpoint's name, then the SFT runs between, joined by arrows.
    """

    tokenizer: Tokenizer
    trunk: TransformerConfig
    weights: Callable[[Any, Layout], dict[str, Any]]
    origin: str


def initialize(config: Config, texts: Callable[[], Sequence[str]], heads: Sequence[str] = ()) -> Initialization:
    """The start that `config.init` and `config.model` name.

    Args:
        config: the whole configuration.
        texts: what a BPE is trained on, if one is.
        heads: the reward heads that a checkpoint's own may become.

    Raises:
        InputError: it cannot be had, or does not fit the configuration.
    """
    if config["init"] not in ("sft", "random", "pretrained"):
        return init_from_folder(config)
    if is_pretrained(config):
        return init_pretrained(config, heads)
    if config["init"] == "pretrained":
        raise InputError(
            "init=pretrained, but config.model describes a trunk of its own: choose a variant that names a checkpoint, "
            "as --config=configs/helpful.py:tinyllama"
        )
    return init_random(config, texts)


def init_random(config: Config, texts: Callable[[], Sequence[str]]) -> Initialization:
    """A trunk of the configured size with random weights, and the tokenizer that the configuration names or, without a
    name, a BPE trained on those texts."""
    settings = config["tokenizer"]
    if settings["path"]:
        path = Path(settings["path"])
        # A run of ours keeps its tokenizer in its checkpoints.
        path = find_checkpoint(path) / "tokenizer" if (path / "checkpoints").is_dir() else path
        tokenizer = open_tokenizer(str(path), template=settings["template"], **tokenization(config))
    elif settings["template"]:
        raise InputError(
            "tokenizer.template belongs to a tokenizer.path: the BPE trained here has a template of its own"
        )
    else:
        tokenizer = Tokenizer(cached_bpe(texts(), settings["vocab_size"]), **tokenization(config))
    return Initialization(tokenizer, trunk_config(config, tokenizer.vocab_size), lambda shapes, layout: {}, "random")


def is_pretrained(config: Config) -> bool:
    """Whether the trunk is that of a Hugging Face checkpoint rather than described by the configuration."""
    return "pretrained" in config["model"]


def init_pretrained(config: Config, heads: Sequence[str] = ()) -> Initialization:
    """The Hugging Face checkpoint that the configuration names, with its weights or, for init=random, its sizes only.

    Raises:
        InputError: it cannot be had or read, or its tokenizer does not fit it.
    """
    model, settings = config["model"], config["tokenizer"]
    checkpoint = open_pretrained(model["pretrained"], model["path"])
    tokenizer = open_tokenizer(str(checkpoint.folder), template=settings["template"], **tokenization(config))
    check_tokenizer(tokenizer, checkpoint.config, str(checkpoint.folder))
    if config["init"] == "random":
        return Initialization(tokenizer, checkpoint.config, lambda shapes, layout: {}, "random")
    if config["init"] == "sft" and not checkpoint.config.causal:
        raise InputError(
            f"{model['pretrained']} is an encoder, which SFT cannot train: start from it with --config.init=pretrained"
        )

    def weights(shapes: Any, layout: Layout) -> dict[str, Any]:
        params, left = checkpoint.load(shapes, heads=heads, dtype=jnp.float32, place=layout.put_param)
        if left:
            print(f"left behind of {checkpoint.folder}: {', '.join(left)}")
        return params

    return Initialization(tokenizer, checkpoint.config, weights, model["pretrained"])


def init_from_folder(config: Config) -> Initialization:
    """The start that `config.init` names by its folder.

    Raises:
        InputError: as `init_from_sft_run`, or a tokenizer is named beside it.
    """
    if not is_pretrained(config):  # there the tokenizer belongs to the weights, and both runs state the same
        for name in ("path", "template"):
            if config["tokenizer"][name]:
                raise InputError(
                    f"tokenizer.{name} is set, but init={config['init']} brings its own tokenizer: leave it empty"
                )
    return init_from_sft_run(config, Path(config["init"]))


def init_from_sft_run(config: Config, path: Path) -> Initialization:
    """The trunk and tokenizer of an SFT run or checkpoint of ours.

    Raises:
        InputError: there is none, or it has other settings than the configuration states.
    """
    checkpoint = find_checkpoint(path)
    contract = read_contract(checkpoint / "contract.json")
    if contract.kind != "language_model":
        raise InputError(
            f"{checkpoint} is a {contract.kind}: init takes sft, random, pretrained or the folder of an SFT run"
        )
    check_origin(config, contract, checkpoint)
    if not is_pretrained(config):
        check_trunk(config, contract, checkpoint)
    for name in ("date", "split_special_tokens"):
        if config["tokenizer"][name] != getattr(contract, name):
            raise InputError(
                f"tokenizer.{name}={config['tokenizer'][name]}, but the SFT run in {checkpoint} was trained with "
                f"{getattr(contract, name)}: state the same for both"
            )
    tokenizer = Tokenizer(load_tokenizer(checkpoint, contract).hf, **tokenization(config))
    check_tokenizer(tokenizer, contract.trunk, str(checkpoint))
    if is_pretrained(config):
        check_template(config, tokenizer, checkpoint)
    origin = f"{contract.data['start']}{ARROW}{path}"

    def weights(shapes: Any, layout: Layout) -> dict[str, Any]:
        return load_tree(checkpoint / "params", layout=layout)

    return Initialization(tokenizer, contract.trunk, weights, origin)


def check_trunk(config: Config, contract: Contract, checkpoint: Path) -> None:
    """Raises InputError unless a checkpoint has the trunk that the configuration describes."""
    stated = trunk_config(config, contract.trunk.vocab_size)
    if stated != contract.trunk:
        here, there = dataclasses.asdict(stated), dataclasses.asdict(contract.trunk)
        names = [name for name in here if here[name] != there[name]]
        raise InputError(
            f"the trunk in {checkpoint} differs from the configuration in {', '.join('model.' + n for n in names)}: "
            "state the checkpoint's own values"
        )


def check_origin(config: Config, contract: Contract, checkpoint: Path) -> None:
    """Raises InputError unless a checkpoint began with the weights that the configuration names."""
    stated = config["model"]["pretrained"] if is_pretrained(config) else "random"
    found = contract.data["start"].split(ARROW)[0]
    if stated != found:
        raise InputError(
            f"the SFT run in {checkpoint} began with {found}, this configuration begins with {stated}: choose the same "
            "variant for both"
        )


def check_template(config: Config, tokenizer: Tokenizer, checkpoint: Path) -> None:
    """Raises InputError if the configuration names another chat template than a checkpoint was trained with."""
    name = config["tokenizer"]["template"]
    if name:
        limits = {"max_prompt": tokenizer.max_prompt, "max_response": tokenizer.max_response}
        stated = open_tokenizer(str(checkpoint / "tokenizer"), template=name, **limits)
        if stated.hf.chat_template != tokenizer.hf.chat_template:
            raise InputError(
                f"tokenizer.template={name}, but the SFT run in {checkpoint} was trained with another chat template: "
                "state the same for both"
            )


def tokenization(config: Config) -> dict[str, Any]:
    """How `config.tokenizer` says that texts become ids, as arguments of `Tokenizer`."""
    names = ("max_prompt", "max_response", "date", "split_special_tokens")
    return {name: config["tokenizer"][name] for name in names}


def trunk_config(config: Config, vocab_size: int) -> TransformerConfig:
    """The trunk that `config.model` describes."""
    settings = {**config["model"]}
    del settings["compute_dtype"]  # belongs to the run, not to the trunk
    return TransformerConfig(vocab_size=vocab_size, **settings)
