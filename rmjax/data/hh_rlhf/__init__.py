"""Loading of HH-RLHF as comparisons: helpful-* have the head `helpful`, harmless-* the head `safety`."""

from __future__ import annotations

import collections
import contextlib
import hashlib
import sys
from pathlib import Path

import requests
import tensorflow_datasets as tfds

from rmjax.data.comparisons import Comparison
from rmjax.data.hh_rlhf import builder as _builder
from rmjax.data.hh_rlhf.builder import MEMBERS, SPLITS, HhRlhf, file_name, files_at_hand
from rmjax.data.records import parse_comparison
from rmjax.errors import InputError

__all__ = ["HhRlhf", "load"]

CACHE = "~/.cache/rmjax"


def load(
    config: str,
    split: str,
    manual_dir: str = "",
    data_dir: str = "",
    notes: collections.Counter[str] | None = None,
) -> list[Comparison]:
    """Loads the comparisons of one split, in the order of the published files.

    Args:
        config: a folder of the published data (`helpful-base`, `helpful-online`, `helpful-rejection-sampled`,
            `harmless-base`), or a union of them: `helpful` or `all`.
        split: "train" or "test".
        manual_dir: a folder with the published file names, for example `helpful-base/train.jsonl.gz`, read instead of
            the network. It needs only the requested files, and they may contain other comparisons than the published
            ones, for example a subset.
        data_dir: the folder of prepared data and downloads; `~/.cache/rmjax` by default.
        notes: counts the pairs of each file of `manual_dir`, and notes if it is the published file.

    Raises:
        InputError: the configuration or split does not exist, a file is missing or broken, or there is no network.
    """
    if config not in MEMBERS:
        raise InputError(f"hh_rlhf has no configuration {config!r}: it is one of {', '.join(MEMBERS)}")
    if split not in SPLITS:
        raise InputError(
            f"hh_rlhf has no {split} split: name one of its splits, hh_rlhf/{config}:test, or a slice, "
            f"hh_rlhf/{config}:train[90%:]"
        )
    root = Path(data_dir or CACHE).expanduser()
    try:
        digests = _digests(Path(manual_dir).expanduser(), config, split) if manual_dir else {}
        source = _prepared(config, split, manual_dir, root, digests).as_data_source(split=split)
    except OSError as error:
        raise InputError(
            f"hh_rlhf/{config} cannot be prepared in {root} ({error}): set data_dir to another folder"
        ) from error
    comparisons = [_comparison(source[i], split) for i in range(len(source))]
    if notes is not None and manual_dir:
        for member, count in collections.Counter(c.subset for c in comparisons if c.subset).items():
            name = file_name(member, split)
            notes[f"pairs of {name}, {_verdict(name, digests[name])}"] = count
    return comparisons


def _verdict(name: str, digest: str) -> str:
    published = {info.filename: info.checksum for info in HhRlhf.url_infos.values()}
    if name not in published:
        return "whose published checksum is not known"
    return "the published file" if published[name] == digest else "not the published file"


def _comparison(example: dict, split: str) -> Comparison:
    chosen, rejected, subset = (example[name].decode() for name in ("chosen", "rejected", "subset"))
    head = "safety" if subset.startswith("harmless") else "helpful"
    origin = f"hh_rlhf/{file_name(subset, split)}:{example['line']}"
    return parse_comparison({"chosen": chosen, "rejected": rejected, "head": head, "subset": subset}, origin)


def _prepared(config: str, split: str, manual_dir: str, root: Path, digests: dict[str, str]) -> HhRlhf:
    """Returns the builder after its ArrayRecord files were written."""
    if manual_dir:
        # TFDS returns anything that it prepared under the same name and version, whatever its source. So the folder for
        # the user's files has a name that depends on their content: other files, or a further split, are prepared anew.
        content = "".join(f"{name} {digest}\n" for name, digest in digests.items())
        root /= f"manual-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
        download_config = tfds.download.DownloadConfig(manual_dir=Path(manual_dir).expanduser())
    else:
        download_config = None
    builder = HhRlhf(config=config, data_dir=root, file_format="array_record")
    if not builder.is_prepared():
        if not manual_dir:
            _require_network(config)
        try:
            with contextlib.redirect_stdout(
                sys.stderr
            ):  # TFDS prints its progress; standard output belongs to the caller
                builder.download_and_prepare(download_config=download_config)
        except (requests.RequestException, tfds.download.DownloadError) as error:
            raise _unreachable(config, error) from error
        except tfds.core.download.download_manager.NonMatchingChecksumError as error:
            raise InputError(f"hh_rlhf/{config}: the download is not the published file: {error}") from error
    if split not in builder.info.splits:
        raise InputError(f"hh_rlhf/{config}: {builder.data_dir} was prepared without a {split} split: delete it")
    return builder


def _digests(folder: Path, config: str, split: str) -> dict[str, str]:
    """Returns the SHA-256 of the files of `config` in `folder`, by name.

    Raises:
        InputError: a file of `split` is missing.
    """
    if not folder.is_dir():
        raise InputError(f"manual_dir {folder} is not a folder")
    found = files_at_hand(folder, config)
    if split not in found:
        missing = [file_name(member, split) for member in MEMBERS[config]]
        missing = [name for name in missing if not (folder / name).is_file()]
        raise InputError(f"hh_rlhf/{config} needs {', '.join(missing)} in manual_dir {folder}")
    digests = {}
    for part, paths in sorted(found.items()):
        for member, path in paths.items():
            with open(path, "rb") as file:
                digests[file_name(member, part)] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def _require_network(config: str) -> None:
    # Without a network, TFDS retries for minutes, each time with a warning.
    try:
        requests.head(_builder.UPSTREAM, timeout=20, allow_redirects=False)
    except requests.RequestException as error:
        raise _unreachable(config, error) from None


def _unreachable(config: str, error: Exception) -> InputError:
    names = ", ".join(file_name(member, split) for member in MEMBERS[config] for split in SPLITS)
    return InputError(
        f"hh_rlhf/{config} cannot be downloaded ({type(error).__name__}): run where the network reaches "
        f"{_builder.UPSTREAM}, or set manual_dir to a folder that contains {names} as published"
    )
