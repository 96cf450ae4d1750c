"""Parquet files, one record per row; every error names file and row."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from rmjax.errors import InputError


def parquet_records(path: str | os.PathLike) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (origin, record) for every row of a parquet file, read in batches; the origin is "FILE, row NUMBER".

    A record is the same Python object as of the same row in a file of JSON lines.

    Raises:
        InputError: pyarrow is not installed, or the file is missing, unreadable or has no records.
    """
    path = os.fspath(path)
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise InputError(
            f"reading {path} needs pyarrow: run `pip install pyarrow`, or give the records as a .jsonl file"
        ) from None
    number = 0
    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches():
                for record in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", record
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{path}: not a parquet file that can be read ({str(error).splitlines()[0]})") from None
    if not number:
        raise InputError(f"{path}: has no records")
