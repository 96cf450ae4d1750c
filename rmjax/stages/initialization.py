"""Initialization of a run: tokenizer and trunk, with weights that are random, from Hugging Face, or from an SFT run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flax.traverse_util import flatten_dict, unflatten_dict

from rmjax.data.pretrained_tokenizer import open_tokenizer
from rmjax.data.token_cache import cached_bpe
from rmjax.data.tokenizer import Tokenizer
from rmjax.errors import InputError
from rmjax.models.config import TransformerConfig
from rmjax.models.lora import merge
from rmjax.models.pretrained import open_pretrained
from rmjax.parallel.layout import Layout
from rmjax.scoring.checkpoint import load_params, load_tokenizer
from rmjax.scoring.contract import Contract, read_contract
from rmjax.scoring.hub import check_tokenizer
from rmjax.scoring.run_checkpoints import find_checkpoint
from rmjax.stages.settings import LoraSettings, RunSettings, SftSettings

ARROW = " -> "


@dataclasses.dataclass(frozen=True)
class Initialization:
    """Tokenizer and trunk that a stage begins with.

    Attributes:
        tokenizer: the tokenizer.
        trunk: settings of the trunk.
        weights: (shapes of the parameters, layout) -> the parameters that are not random, as a tree, not replicated.
        origin: the source of the weights: random or a checkpoint's name, then SFT runs, joined by arrows.
    """

    tokenizer: Tokenizer
    trunk: TransformerConfig
    weights: Callable[[Any, Layout], dict[str, Any]]
    origin: str

    def with_adapters(self, lora: LoraSettings) -> Initialization:
        """Returns the same start with adapters on the trunk, if the settings have any."""
        if not lora.rank:
            return self
        return dataclasses.replace(self, trunk=dataclasses.replace(self.trunk, lora=lora.adapters()))


# The order in which a run looks for its weights:
# 1. a checkpoint of the run itself, if it was interrupted (`rmjax.stages.stage.resume`);
# 2. config.init=FOLDER: the SFT run or checkpoint in that folder;
# 3. config.init=sft or pretrained with a pretrained model: the Hugging Face checkpoint;
# 4. config.init=random with a pretrained model: the sizes and the tokenizer of the checkpoint, random weights;
# 5. otherwise random weights; the tokenizer is loaded or trained.
def initialize(
    settings: RunSettings | SftSettings, texts: Callable[[], Sequence[str]], heads: Sequence[str] = ()
) -> Initialization:
    """Returns the initialization that `init` and `model` describe.

    Args:
        settings: the settings of the run.
        texts: returns the texts for a BPE; called only if one is trained.
        heads: names of the reward heads that the head of a checkpoint may become.

    Raises:
        InputError: a checkpoint or tokenizer is missing, or does not fit the settings.
    """
    if settings.init not in ("sft", "random", "pretrained"):
        return init_from_folder(settings)
    if settings.model.pretrained:
        return init_pretrained(settings, heads)
    if settings.init == "pretrained":
        raise InputError(
            "init=pretrained, but config.model describes a trunk with random weights: choose a variant that names a "
            "checkpoint, as --config=configs/helpful.py:tinyllama"
        )
    return init_random(settings, texts)


def init_random(settings: RunSettings | SftSettings, texts: Callable[[], Sequence[str]]) -> Initialization:
    """Returns a trunk with random weights, and the tokenizer that is named, or a BPE trained on the texts."""
    named = settings.tokenizer
    if named.path:
        path = Path(named.path)
        # A run directory of rmjax has its tokenizer in its checkpoints.
        path = find_checkpoint(path) / "tokenizer" if (path / "checkpoints").is_dir() else path
        tokenizer = open_tokenizer(str(path), template=named.template, **named.tokenization)
    elif named.template:
        raise InputError("tokenizer.template needs a tokenizer.path: the BPE that is trained has its own template")
    else:
        tokenizer = Tokenizer(cached_bpe(texts(), named.vocab_size), **named.tokenization)
    trunk = settings.model.transformer(tokenizer.vocab_size)
    return Initialization(tokenizer, trunk, lambda shapes, layout: {}, "random")


def init_pretrained(settings: RunSettings | SftSettings, heads: Sequence[str] = ()) -> Initialization:
    """Returns the Hugging Face checkpoint that is named, with its weights or, for init=random, only its sizes.

    Raises:
        InputError: it is missing or cannot be read, or its tokenizer does not fit it.
    """
    model, named = settings.model, settings.tokenizer
    checkpoint = open_pretrained(model.pretrained, model.path)
    tokenizer = open_tokenizer(str(checkpoint.folder), template=named.template, **named.tokenization)
    check_tokenizer(tokenizer, checkpoint.config, str(checkpoint.folder))
    if settings.init == "random":
        return Initialization(tokenizer, checkpoint.config, lambda shapes, layout: {}, "random")
    if settings.init == "sft" and not checkpoint.config.causal:
        raise InputError(
            f"{model.pretrained} is an encoder, which SFT cannot train: start from it with --config.init=pretrained"
        )

    def weights(shapes: Any, layout: Layout) -> dict[str, Any]:
        params, left = checkpoint.load(shapes, heads=heads, dtype=settings.lora.dtype_of, place=layout.put_param)
        if left:
            print(f"not loaded from {checkpoint.folder}: {', '.join(left)}")
        return params

    return Initialization(tokenizer, checkpoint.config, weights, model.pretrained).with_adapters(settings.lora)


def init_from_folder(settings: RunSettings | SftSettings) -> Initialization:
    """Returns the SFT run or checkpoint in the folder that `init` names.

    Raises:
        InputError: as `init_from_sft_run`, or the settings name a tokenizer too.
    """
    if not settings.model.pretrained:  # with a pretrained model both runs name the same tokenizer
        for name in ("path", "template"):
            if getattr(settings.tokenizer, name):
                raise InputError(
                    f"tokenizer.{name} is set, but init={settings.init} brings its own tokenizer: leave it empty"
                )
    return init_from_sft_run(settings, Path(settings.init))


def init_from_sft_run(settings: RunSettings | SftSettings, path: Path) -> Initialization:
    """Returns trunk and tokenizer of an SFT run or checkpoint of rmjax.

    Raises:
        InputError: there is none, or it has other settings than the run.
    """
    checkpoint = find_checkpoint(path)
    contract = read_contract(checkpoint / "contract.json")
    if contract.kind != "language_model":
        raise InputError(
            f"{checkpoint} is a {contract.kind}: init takes sft, random, pretrained or the folder of an SFT run"
        )
    check_origin(settings, contract, checkpoint)
    if not settings.model.pretrained:
        check_trunk(settings, contract, checkpoint)
    for name in ("date", "split_special_tokens"):
        stated = getattr(settings.tokenizer, name)
        if stated != getattr(contract, name):
            raise InputError(
                f"tokenizer.{name}={stated}, but the SFT run in {checkpoint} was trained with "
                f"{getattr(contract, name)}: state the same for both"
            )
    tokenizer = Tokenizer(load_tokenizer(checkpoint, contract).hf, **settings.tokenizer.tokenization)
    check_tokenizer(tokenizer, contract.trunk, str(checkpoint))
    if settings.model.pretrained:
        check_template(settings, tokenizer, checkpoint)
    origin = f"{contract.data['start']}{ARROW}{path}"

    def weights(shapes: Any, layout: Layout) -> dict[str, Any]:
        params = flatten_dict(merge(load_params(checkpoint, contract, layout), contract.trunk.lora), sep="/")
        return unflatten_dict({path: x.astype(settings.lora.dtype_of(path)) for path, x in params.items()}, sep="/")

    trunk = contract.trunk.without_adapters()
    return Initialization(tokenizer, trunk, weights, origin).with_adapters(settings.lora)


def check_trunk(settings: RunSettings | SftSettings, contract: Contract, checkpoint: Path) -> None:
    """Raises InputError unless a checkpoint has the trunk that the settings describe."""
    stated = settings.model.transformer(contract.trunk.vocab_size)
    found = contract.trunk.without_adapters()  # they are merged
    if stated != found:
        here, there = dataclasses.asdict(stated), dataclasses.asdict(found)
        names = [name for name in here if here[name] != there[name]]
        raise InputError(
            f"the trunk in {checkpoint} differs from the configuration in {', '.join('model.' + n for n in names)}: "
            "state the checkpoint's own values"
        )


def check_origin(settings: RunSettings | SftSettings, contract: Contract, checkpoint: Path) -> None:
    """Raises InputError unless a checkpoint began with the weights that the settings name."""
    stated = settings.model.pretrained or "random"
    found = contract.data["start"].split(ARROW)[0]
    if stated != found:
        raise InputError(
            f"the SFT run in {checkpoint} began with {found}, this configuration begins with {stated}: choose the same "
            "variant for both"
        )


def check_template(settings: RunSettings | SftSettings, tokenizer: Tokenizer, checkpoint: Path) -> None:
    """Raises InputError if the settings name another chat template than a checkpoint was trained with."""
    name = settings.tokenizer.template
    if name:
        limits = {"max_prompt": tokenizer.max_prompt, "max_response": tokenizer.max_response}
        stated = open_tokenizer(str(checkpoint / "tokenizer"), template=name, **limits)
        if stated.hf.chat_template != tokenizer.hf.chat_template:
            raise InputError(
                f"tokenizer.template={name}, but the SFT run in {checkpoint} was trained with another chat template: "
                "state the same for both"
            )
