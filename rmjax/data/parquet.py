"""Parquet files, one record per row; every error names file and row."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from rmjax.data.files import require_regular
from rmjax.data.reading import DEFAULT, Reading
from rmjax.errors import InputError

ROWS = 1024  # rows that are read together


def parquet_records(path: str | os.PathLike, reading: Reading = DEFAULT) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (origin, record) for every row of a parquet file, read in batches; the origin is "FILE, row NUMBER".

    A record is the same Python object as of the same row in a file of JSON lines.

    Raises:
        InputError: pyarrow is not installed, or the file is missing, a FIFO, a device, unreadable, beyond a limit of
            `reading`, or has no records.
    """
    path = os.fspath(path)
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise InputError(
            f"reading {path} needs pyarrow: run `pip install pyarrow`, or give the records as a .jsonl file"
        ) from None
    require_regular(path)
    number = size = 0
    try:
        with ParquetFile(path) as file:
            names = file.schema_arrow.names
            if len(set(names)) < len(names):
                raise InputError(f"{path}: two columns have the same name")
            for batch in file.iter_batches(ROWS):
                size += batch.nbytes
                if size > reading.max_file_bytes or batch.nbytes > ROWS * reading.max_line_bytes:
                    raise InputError(f"{path}: its rows are larger than max_line_bytes or max_file_bytes")
                for record in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", record
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{path}: not a parquet file that can be read ({str(error).splitlines()[0]})") from None
    if not number:
        raise InputError(f"{path}: has no records")
