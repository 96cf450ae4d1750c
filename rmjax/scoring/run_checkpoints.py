"""Checkpoints of a run: lists, finds, and deletes them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rmjax.durable import remove_folder, remove_partial
from rmjax.errors import InputError
from rmjax.parallel.processes import is_main_process, sync_processes
from rmjax.scoring.manifest import verify_files

NEEDED = ("contract.json", "params/", "tokenizer/")  # beginnings of names that the manifest of a checkpoint lists


def list_checkpoints(root: Path) -> list[Path]:
    """Returns the complete checkpoints in `root`, oldest first."""
    if not root.is_dir():
        return []
    # Not isdigit, which is true for "²" too.
    return sorted((path for path in root.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name))


def find_checkpoint(path: Path) -> Path:
    """Returns the checkpoint `path`, or the last undamaged checkpoint of the run directory `path`.

    A damaged checkpoint of a run is skipped with a warning on standard error; one that is named directly is an error. A
    run that is not finished is a warning too.

    Raises:
        InputError: there is no checkpoint, or no undamaged one.
    """
    path = Path(path)
    if (path / "contract.json").is_file():
        if wrong := verify_files(path, NEEDED):
            raise InputError(f"the checkpoint {path} is damaged: {wrong}")
        return path
    if not path.is_dir():
        raise InputError(f"there is no checkpoint at {path}: give a run directory or a checkpoint in it")
    root = path if list_checkpoints(path) else path / "checkpoints"
    unfinished = (path / "config.json").is_file() and not (path / "evaluation.json").is_file()
    for checkpoint in reversed(list_checkpoints(root)):
        if not (wrong := verify_files(checkpoint, NEEDED)):
            if unfinished:
                print(f"warning: the run {path} is not finished: step {int(checkpoint.name)} is used", file=sys.stderr)
            return checkpoint
        print(f"warning: skipping the damaged checkpoint {checkpoint}: {wrong}", file=sys.stderr)
    raise InputError(f"{path} has no undamaged checkpoint: give a run directory or a checkpoint in it")


def last_checkpoint(root: Path) -> Path:
    """Returns the last undamaged checkpoint in `root`, for a run that goes on. Every process of the run calls it.

    Later checkpoints, which are damaged, and incomplete ones are deleted: the run writes their steps again.

    Raises:
        InputError: there is no undamaged checkpoint.
    """
    checkpoint = find_checkpoint(root)
    remove_later(checkpoint)
    if is_main_process():
        remove_partial(root)
    return checkpoint


def remove_later(checkpoint: Path) -> None:
    """Deletes the checkpoints of the same run with later steps. Every process of a run calls it."""
    remove_checkpoints([path for path in list_checkpoints(checkpoint.parent) if int(path.name) > int(checkpoint.name)])


def remove_checkpoints(paths: Sequence[Path]) -> None:
    """Deletes checkpoints. Every process of a run calls it with the same paths, and the main process deletes them."""
    sync_processes(f"before deleting {[path.name for path in paths]}")  # every process has listed them
    if is_main_process():
        for path in paths:
            remove_folder(path)
    sync_processes(f"after deleting {[path.name for path in paths]}")
