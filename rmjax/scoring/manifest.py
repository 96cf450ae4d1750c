"""Manifest of a folder: size and sha256 of its files, to notice any change of them."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rmjax.data.files import read_json
from rmjax.errors import InputError

MANIFEST = "manifest.json"
# Errors of a disk, a network file system, permissions or limits of the process, which say nothing about a file.
PASSING = {
    errno.EIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.EACCES,
    errno.EPERM,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
}


def manifest_of(folder: Path, paths: Iterable[Path], contents: Mapping[str, bytes] | None = None) -> str:
    """Returns the manifest of files in a folder, and of others with these contents, which are not written yet."""
    listed = {str(path.relative_to(folder)): _entry(path.stat().st_size, _sha256(path)) for path in sorted(paths)}
    for name, content in (contents or {}).items():
        listed[name] = _entry(len(content), hashlib.sha256(content).hexdigest())
    return json.dumps(listed, indent=1)


def _entry(size: int, digest: str) -> dict[str, int | str]:
    return {"bytes": size, "sha256": digest}


def verify_files(folder: Path, needed: Sequence[str]) -> str:
    """Returns an error in a few words if the files of a folder differ from its manifest, otherwise "".

    Args:
        folder: the folder, with its manifest.
        needed: beginnings of names that the manifest must list.

    Raises:
        InputError: a file cannot be read just now, so that it is not known whether it is damaged.
    """
    if (folder / MANIFEST).is_file():
        _check_readable(folder / MANIFEST)
    try:
        manifest = read_json(folder / MANIFEST)
        listed = {name: (entry["bytes"], entry["sha256"]) for name, entry in manifest.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"no readable {MANIFEST}"
    for beginning in needed:
        if not any(name.startswith(beginning) for name in listed):
            return f"{MANIFEST} does not list {beginning}"
    for name, (size, digest) in listed.items():
        path = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            return f"{MANIFEST} names {name!r}, which is outside of the folder"
        try:
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != size or _sha256(path) != digest:
                return f"{name} has changed since it was written"
        except OSError as error:
            _refuse_if_passing(error, path)
            return f"{name!r} cannot be read ({error.strerror})"
    return ""


def _check_readable(path: Path) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        _refuse_if_passing(error, path)


def _refuse_if_passing(error: OSError, path: Path) -> None:
    """Raises InputError for an error of the machine: files that are taken for damaged may be deleted."""
    if error.errno in PASSING:
        raise InputError(
            f"{path} cannot be read ({error.strerror}): whether it is damaged is not known; nothing was "
            "changed; try again when the file system answers"
        ) from None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
