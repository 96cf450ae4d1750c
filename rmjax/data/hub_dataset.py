"""Datasets of the Hugging Face hub, read by the package `datasets`; every error names the dataset."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rmjax.errors import InputError


def hub_records(name: str, role: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (origin, record) for every row of a dataset; the origin is "hf:NAME, row NUMBER".

    Args:
        name: `OWNER/NAME[:CONFIG][:SPLIT]`. One part after the dataset is its configuration if it has one of that name,
            else a split. The path of a local folder is read too.
        role: the split if `name` states none.

    Raises:
        InputError: the package is missing, or it cannot load the dataset.
    """
    try:
        import datasets
    except ImportError:
        raise InputError(
            f"reading hf:{name} needs the package datasets: run `pip install datasets`, or download its files and name "
            "them with jsonl: or parquet:"
        ) from None
    path, *parts = name.split(":")
    if len(parts) > 2 or not all((path, *parts)):
        raise InputError(
            f"cannot read hf:{name}: write hf:OWNER/NAME, hf:OWNER/NAME:SPLIT or hf:OWNER/NAME:CONFIG:SPLIT"
        )
    try:
        if len(parts) == 1 and parts[0] not in datasets.get_dataset_config_names(path):
            parts.insert(0, "")
        config, split = [*parts, "", ""][:2]
        rows = datasets.load_dataset(path, config or None, split=split or role)
    except Exception as error:  # of the network, the hub or the files: the library has no common class
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise InputError(
            f"hf:{name} cannot be loaded ({reason}): check the name, its configuration and split, and the network, or "
            "name downloaded files with jsonl: or parquet:"
        ) from None
    for number, record in enumerate(rows, start=1):
        yield f"hf:{name}, row {number}", record
