"""Checkpoints: parameters, optimizer state, tokenizer and contract, written completely or not at all.

    checkpoints/000250/
        contract.json    the scoring contract
        tokenizer/       files for AutoTokenizer
        params/          orbax
        optimizer/       orbax; step and optimizer state, for resuming
        metrics.jsonl    the log of the run up to this step, and samples.jsonl for a policy
        manifest.json    size and sha256 of every file above

A checkpoint is written under another name and renamed when it is complete. Orbax restores a damaged data file without
an error, so the manifest is checked before any file is read.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from rmjax.data.pretrained_tokenizer import open_tokenizer
from rmjax.data.tokenizer import Tokenizer
from rmjax.durable import PARTIAL, remove_folder, remove_partial, sync, sync_tree, writing
from rmjax.errors import InputError
from rmjax.models.checkpoint_files import PICKLES, fetch
from rmjax.models.reward import RewardTransformer
from rmjax.models.transformer import LanguageModel, parameter_shapes
from rmjax.parallel.layout import Layout, make_layout
from rmjax.parallel.processes import is_main_process, sync_processes
from rmjax.scoring.contract import Canary, Contract, check_canaries, read_contract
from rmjax.scoring.hub import load_classifier
from rmjax.scoring.manifest import MANIFEST, manifest_of
from rmjax.scoring.reward_model import RewardModel
from rmjax.scoring.run_checkpoints import find_checkpoint, list_checkpoints


def save_checkpoint(
    root: Path,
    contract: Contract,
    tokenizer: Tokenizer,
    params: Any,
    optimizer: Any,
    *,
    keep: int,
    logs: Sequence[Path] = (),
) -> Path:
    """Writes `root/STEP` and deletes all but the `keep` newest checkpoints. Returns the path.

    Every process calls it with its part of the trees (not replicated). The main process writes all other files, and
    copies the `logs` that exist.

    Raises:
        InputError: the disk is full, or does not let this process write; the older checkpoints are unharmed.
    """
    final = root / f"{contract.step:06d}"
    partial = root / f"{final.name}{PARTIAL}"
    with writing(final, partial):
        if is_main_process():
            remove_partial(root)
            partial.mkdir(parents=True)
            (partial / "contract.json").write_text(contract.to_json(), encoding="utf-8")
            tokenizer.save(partial / "tokenizer")
            for log in filter(Path.is_file, logs):
                shutil.copyfile(log, partial / log.name)
        sync_processes(f"begin {final}")
        _save_tree(partial / "params", params)
        _save_tree(partial / "optimizer", optimizer)
        if is_main_process():
            _complete(root, partial, final, keep)
    sync_processes(f"end {final}")
    return final


def _complete(root: Path, partial: Path, final: Path, keep: int) -> None:
    """Writes the manifest of a checkpoint, renames it, and deletes old checkpoints."""
    files = sorted(path for path in partial.rglob("*") if path.is_file())
    (partial / MANIFEST).write_text(manifest_of(partial, files), encoding="utf-8")
    sync_tree(partial)
    if final.exists():
        shutil.rmtree(final)
    os.rename(partial, final)
    sync(root)
    for old in list_checkpoints(root)[:-keep]:
        remove_folder(old)


def load(
    path: str | Path,
    *,
    verify: bool = True,
    devices: int = 0,
    layout: str = "pmap",
    tensor: int = 0,
    template: str = "",
    max_prompt: int = 0,
    max_response: int = 0,
    date: str = "",
    split_special_tokens: bool | None = None,
    logit: int | None = None,
) -> RewardModel:
    """Loads a reward model from a run directory (its last undamaged checkpoint), a checkpoint or a Hugging Face folder.

    Args:
        path: the directory; or OWNER/NAME of a model of the Hugging Face hub, if there is no local folder OWNER.
        verify: recompute the canaries, and refuse a model whose scores differ from those when it was saved.
        devices: number of devices of each process to score on; 0: all.
        layout: layout over the devices, independent of training; see `rmjax.parallel.layout.make_layout`.
        tensor: argument of the layout.
        template: only for a Hugging Face folder, as the next five; see `rmjax.scoring.hub.load_classifier`.
        max_prompt: see there.
        max_response: see there.
        date: see there.
        split_special_tokens: see there.
        logit: see there.

    Raises:
        InputError: no checkpoint, a damaged one, one of another version, an SFT checkpoint, or failing canaries.
    """
    over = make_layout(layout=layout, devices=devices, tensor=tensor)
    path = local_folder(path)
    if is_hugging_face(Path(path)):
        return load_classifier(
            Path(path),
            over,
            template=template,
            max_prompt=max_prompt,
            max_response=max_response,
            date=date,
            split_special_tokens=split_special_tokens,
            logit=logit,
        )
    if template or max_prompt or max_response or date or split_special_tokens is not None or logit is not None:
        raise InputError(
            f"{path} states its own settings: template, max_prompt, max_response, date, split_special_tokens and logit "
            "are only for folders in Hugging Face's format"
        )
    checkpoint = find_checkpoint(Path(path))
    contract = read_contract(checkpoint / "contract.json")
    if contract.kind != "reward_model":
        raise InputError(
            f"{checkpoint} is a language model without scores: train a reward model from it with --config.init={path}"
        )
    params = over.device_put(load_params(checkpoint, contract, over))
    model = RewardModel(params, contract, load_tokenizer(checkpoint, contract), over)
    if verify and not contract.canaries:
        raise InputError(f"{checkpoint} has no canaries to verify: load it with verify=False (--noverify)")
    if verify:
        verify_canaries(model, contract.canaries, checkpoint)
    return model


def local_folder(path: str | Path) -> Path:
    """Returns the path; of OWNER/NAME without a local folder OWNER, the folder of that model of the Hugging Face hub.

    Raises:
        InputError: the download fails.
    """
    if re.fullmatch(r"[\w.-]+/[\w.-]+", str(path)) and not Path(path).parent.exists():
        return fetch(str(path), "or give a run directory, a checkpoint in it, or a local folder")
    return Path(path)


def is_hugging_face(path: Path) -> bool:
    """Returns True for a folder in Hugging Face's format, even one that is refused.

    A run directory has a config.json too, but no weights next to it.
    """
    weights = any(any(path.glob(pattern)) for pattern in ("*.safetensors", *PICKLES))
    return (path / "adapter_config.json").is_file() or ((path / "config.json").is_file() and weights)


def verify_canaries(model: RewardModel, canaries: Sequence[Canary], where: Path) -> None:
    """Raises InputError unless the model gives every canary its stored score."""
    raw = model.score_groups([c.prompt for c in canaries], [[c.response] for c in canaries], exact=True).raw
    columns = [model.heads.index(canary.head) for canary in canaries]
    check_canaries(canaries, [float(scores[0, z]) for scores, z in zip(raw, columns, strict=True)], where)


def load_tokenizer(checkpoint: Path, contract: Contract) -> Tokenizer:
    """Loads the tokenizer of a checkpoint with the settings of its contract.

    Raises:
        InputError: it cannot be read, or its template or ending is not that of the contract.
    """
    tokenizer = open_tokenizer(
        str(checkpoint / "tokenizer"),
        max_prompt=contract.max_prompt,
        max_response=contract.max_response,
        date=contract.date,
        split_special_tokens=contract.split_special_tokens,
    )
    if tokenizer.hf.chat_template != contract.chat_template or tokenizer.ending != contract.ending:
        raise InputError(f"the tokenizer in {checkpoint} has another chat template or ending than its contract states")
    return tokenizer


def load_params(checkpoint: Path, contract: Contract, layout: Layout) -> Any:
    """Loads the parameters of a checkpoint, not replicated.

    Raises:
        InputError: they cannot be read, are not those of the contract's model, or are not all finite.
    """
    path, dtype = checkpoint / "params", jnp.dtype("float32")
    module: nn.Module = LanguageModel(contract.trunk, dtype)
    if contract.kind == "reward_model":
        module = RewardTransformer(contract.trunk, contract.head, dtype)
    wanted = jax.tree.map(lambda leaf: leaf.shape, parameter_shapes(module))
    try:
        found = jax.tree.map(lambda leaf: leaf.shape, _stored(path))
        params = load_tree(path, layout=layout) if found == wanted else None
    except Exception as error:  # orbax and tensorstore raise exceptions of many kinds for damaged files
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise InputError(f"{path} cannot be read ({reason}): use another checkpoint") from error
    if params is None:
        raise InputError(f"{path} has other parameters than the model of its contract.json: use another checkpoint")
    if not all(jax.tree.leaves(jax.device_get(_finite(params)))):
        raise InputError(f"{path} holds NaN or infinite numbers: use an earlier checkpoint")
    return params


@jax.jit
def _finite(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.isfinite(leaf).all(), tree)


def load_tree(path: Path, like: Any = None, *, layout: Layout) -> Any:
    """Loads the pytree in `path`, not replicated, on the devices of the layout, with the structure of `like` if given.

    The layout and the number of devices need not be those that saved it.
    """
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        like = _stored(path) if like is None else like
        return checkpointer.restore(path.resolve(), layout.restore_args(like))


def _stored(path: Path) -> Any:
    """Returns shapes and dtypes of the pytree in `path`."""
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        stored = checkpointer.metadata(path.resolve()).item_metadata.tree
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), stored)


def _save_tree(path: Path, tree: Any) -> None:
    import orbax.checkpoint as ocp

    # The threads of orbax and tensorstore print the traceback of an error that is raised here as well. Those of
    # tensorstore can still come when this function has ended.
    log = logging.getLogger("absl")
    level = log.level
    log.setLevel(logging.CRITICAL)
    if not isinstance(sys.unraisablehook, _QuietHook):
        sys.unraisablehook = _QuietHook(sys.unraisablehook)
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(path.resolve(), tree)
    finally:
        log.setLevel(level)


class _QuietHook:
    """`sys.unraisablehook` that leaves out what tensorstore's callbacks raise after the event loop of a failed save."""

    def __init__(self, hook: Callable[[Any], object]) -> None:
        self.hook = hook

    def __call__(self, unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            self.hook(unraisable)
