"""Reward models in Hugging Face's format: loading, and export that scores equally with transformers."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from rmjax.data.bpe import PAD
from rmjax.data.chat_template import DATE
from rmjax.data.pretrained_tokenizer import open_tokenizer
from rmjax.data.tokenizer import Tokenizer
from rmjax.errors import InputError
from rmjax.models.config import HeadConfig, TransformerConfig, default_head
from rmjax.models.export import write_pretrained
from rmjax.models.families import find_family
from rmjax.models.lora import merge
from rmjax.models.pretrained import Pretrained, open_pretrained
from rmjax.models.reward import RewardTransformer
from rmjax.models.transformer import parameter_shapes
from rmjax.parallel.layout import Layout
from rmjax.scoring.contract import Contract
from rmjax.scoring.link import BRADLEY_TERRY, Link
from rmjax.scoring.model_card import model_card
from rmjax.scoring.reward_model import RewardModel

# The field of config.json with the settings of our exports, and the defaults for other checkpoints.
STATED = "rmjax"
DEFAULTS: dict[str, Any] = {
    "max_prompt": 0,
    "max_response": 0,
    "date": DATE,
    "split_special_tokens": True,
    "link": dataclasses.asdict(BRADLEY_TERRY),
}


def load_classifier(
    folder: Path,
    layout: Layout,
    *,
    template: str = "",
    max_prompt: int = 0,
    max_response: int = 0,
    date: str = "",
    split_special_tokens: bool | None = None,
    logit: int | None = None,
) -> RewardModel:
    """Loads a reward model from a `...ForSequenceClassification` checkpoint; its labels are the heads.

    It scores the text of the tokenizer's chat template with the pooling of that class: the last token that is not
    padding, or the first token for an encoder. Such a checkpoint has no limits, link, normalization or canaries.
    Its link is Bradley-Terry. Special tokens in a message are text; in transformers they are special tokens, as here
    with `split_special_tokens=False`.

    Args:
        folder: with config.json, safetensors and tokenizer.
        layout: the devices to score on.
        template: the name of a chat template in place of the tokenizer's own; see `TEMPLATES`.
        max_prompt: the least tokens left of a prompt, and the response has the rest; 0 for the value of our export, or
            else half of the positions of the checkpoint.
        max_response: the least tokens left of a response; 0 as for `max_prompt`.
        date: the date that the template writes, YYYY-MM-DD; empty for the value of our export, or else `DATE`.
        split_special_tokens: see `Tokenizer`; None for the value of our export, or else True.
        logit: the checkpoint is a causal language model, and the score is the logit of this token after the text.

    Raises:
        InputError: not such a checkpoint, or its tokenizer does not belong to it.
    """
    pretrained = open_pretrained(str(folder))
    if logit is not None:
        pretrained = pretrained.scored_by_logit(logit)
    if not pretrained.labels:
        raise InputError(_no_head(pretrained))
    pad_id = pretrained.hf.pad_token_id if pretrained.config.causal else None
    stated = _stated(pretrained)
    tokenizer = open_tokenizer(
        str(folder),
        template=template,
        max_prompt=2,
        max_response=1,
        pad_id=pad_id,
        date=date or stated["date"],
        split_special_tokens=stated["split_special_tokens"] if split_special_tokens is None else split_special_tokens,
    )
    room = (pretrained.config.max_positions or 4096) - len(tokenizer.ending)
    max_prompt, max_response = max_prompt or stated["max_prompt"], max_response or stated["max_response"]
    max_prompt = max_prompt or (room - max_response if max_response else room // 2)
    tokenizer.set_limits(max_prompt, max_response or room - max_prompt)
    check_tokenizer(tokenizer, pretrained.config, str(folder))
    head = dataclasses.replace(default_head(pretrained.labels, pretrained.config), bias=pretrained.head_bias)
    try:
        link = Link(**stated["link"])
    except TypeError:
        raise InputError(f'{folder}/config.json: "{STATED}" has a link with unknown fields: export it again') from None
    model = RewardTransformer(pretrained.config, head, jnp.dtype("float32"))
    params, _ = pretrained.load(parameter_shapes(model), heads=pretrained.labels, place=layout.put_param)
    narrow = any(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(params))
    contract = Contract(
        kind="reward_model",
        step=0,
        trunk=pretrained.config,
        head=head,
        compute_dtype="bfloat16" if narrow else "float32",
        **tokenizer.stated(),
        data={"source": "unknown", "start": str(folder)},
        link=link,
    )
    return RewardModel(layout.device_put(params), contract, tokenizer, layout)


def _stated(pretrained: Pretrained) -> dict[str, Any]:
    """Returns the settings of our export, or else the defaults.

    Raises:
        InputError: a setting has another type than its default.
    """
    found = getattr(pretrained.hf, STATED, {})
    if isinstance(found, dict) and all(type(found.get(name, value)) is type(value) for name, value in DEFAULTS.items()):
        return {**DEFAULTS, **found}
    names = ", ".join(DEFAULTS)
    raise InputError(f'{pretrained.folder}/config.json: "{STATED}" must have the settings of an export ({names})')


def _no_head(pretrained: Pretrained) -> str:
    """Returns the message for a checkpoint without a classification head."""
    head = default_head(("score",), pretrained.config)
    shapes = parameter_shapes(RewardTransformer(pretrained.config, head, jnp.dtype("float32")))
    others = pretrained.beyond(shapes)
    listed = ", ".join(others[:6]) + (f" and {len(others) - 6} more" if len(others) > 6 else "")
    return (
        f"{pretrained.folder} has no sequence-classification head ({pretrained.family.head}.weight), so it cannot "
        f"score: its class is {pretrained.named}, and beyond the trunk it holds {listed or 'nothing'}; train a reward "
        f"model from it with --config=configs/helpful.py:VARIANT --config.model.path={pretrained.folder}, or "
        "state the token whose logit is the reward (logit=ID, --logit=ID)"
    )


def export_reward_model(
    model: RewardModel, output: Path, *, head: str | None, dtype: str, results: Mapping[str, Any] | None = None
) -> None:
    """Writes a folder that `AutoModelForSequenceClassification` and `AutoTokenizer` open, with a model card.

    Args:
        model: the reward model.
        output: a folder that does not exist yet, or is empty.
        head: the exported head, because the format has a single score; None if the model has one head.
        dtype: `float32` or `bfloat16`.
        results: the contents of `evaluation.json` of the run, for the model card; None if there is none.

    Raises:
        InputError: several heads and none named, a head that the format cannot express, or `output` holds files.
    """
    head = model.pick_head(head)
    check_head(model.contract.head, model.contract.trunk)
    check_output(output)
    model = model.merged()
    config, params = model.contract.trunk, model.layout.unreplicate(model.params)
    hf = copy.deepcopy(model.tokenizer.hf)
    # These classes find the end of a text by its padding, so the pad token must differ from the end of a text.
    if hf.pad_token_id is None or hf.pad_token_id in model.tokenizer.ending:
        hf.add_special_tokens({"pad_token": PAD})
    if (missing := hf.pad_token_id + 1 - config.vocab_size) > 0:
        table = params["trunk"]["embedding"]["embedding"]
        rows = jnp.concatenate([table, jnp.zeros((missing, table.shape[1]), table.dtype)])
        params = {**params, "trunk": {**params["trunk"], "embedding": {"embedding": rows}}}
        config = dataclasses.replace(config, vocab_size=config.vocab_size + missing)
    if not config.max_positions:
        config = dataclasses.replace(config, max_positions=model.tokenizer.max_length)
    contract = dataclasses.asdict(model.contract)
    fields = {**_special_ids(hf), STATED: {name: contract[name] for name in DEFAULTS}}
    write_pretrained(output, config, params, head=head, dtype=jnp.dtype(dtype), fields=fields)
    hf.save_pretrained(output)
    (output / "README.md").write_text(model_card(model, head, dtype, output, results), encoding="utf-8")


def check_head(head: HeadConfig, config: TransformerConfig) -> None:
    """Raises InputError unless Hugging Face's classifier of the family has the pooling and bias of the head."""
    family = find_family(config.family)
    theirs, name = default_head(head.names, config), family.classes[1]
    if config.pooler and not family.pooler:
        raise InputError(
            f"a model with a hidden layer before its head cannot be exported, because {name} has none: score it with "
            "rmjax"
        )
    for field in ("pooling", "bias"):
        ours, needed = getattr(head, field), getattr(theirs, field)
        if ours != needed:
            raise InputError(
                f"a model with head.{field}={ours} cannot be exported, because {name} computes head.{field}={needed}: "
                "score it with rmjax, or train one with that setting"
            )


def export_language_model(
    config: TransformerConfig, tokenizer: Tokenizer, params: Any, output: Path, dtype: str
) -> None:
    """Writes an SFT checkpoint as a folder that `AutoModelForCausalLM` and `AutoTokenizer` open.

    Raises:
        InputError: `output` holds files.
    """
    check_output(output)
    params, config = merge(params, config.lora), config.without_adapters()
    if not config.max_positions:
        config = dataclasses.replace(config, max_positions=tokenizer.max_length)
    fields = _special_ids(tokenizer.hf)
    write_pretrained(output, config, params, head=None, dtype=jnp.dtype(dtype), fields=fields)
    tokenizer.save(output)


def check_tokenizer(tokenizer: Tokenizer, config: TransformerConfig, where: str) -> None:
    """Raises InputError unless the trunk supports every id and every position of the tokenizer."""
    if tokenizer.vocab_size > config.vocab_size:
        raise InputError(
            f"the tokenizer of {where} has {tokenizer.vocab_size} ids, but its embedding table only "
            f"{config.vocab_size} rows: it belongs to another checkpoint"
        )
    if config.max_positions and tokenizer.max_length > config.max_positions:
        raise InputError(
            f"tokenizer.max_prompt={tokenizer.max_prompt} and max_response={tokenizer.max_response} make texts of up "
            f"to {tokenizer.max_length} tokens, but {where} is made for {config.max_positions}: lower one of them"
        )


def check_output(output: Path) -> None:
    """Raises InputError unless a folder is new or empty."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output} exists already: give a new folder")


def _special_ids(hf: Any) -> dict[str, int | None]:
    return {name: getattr(hf, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
