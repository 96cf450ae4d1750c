"""CSV files with a header row, one record per row; every error names file and line."""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections.abc import Iterator
from typing import Any

from rmjax.data.files import require_regular
from rmjax.data.jsonl import file_path
from rmjax.data.reading import DEFAULT, Reading
from rmjax.errors import InputError

TEXTS = ("prompt", "chosen", "rejected", "response")  # columns whose cells are text, also if they are empty
LABELS = ("head", "subset")  # columns whose cells are text, or absent if they are empty


def csv_records(path: str | os.PathLike, reading: Reading = DEFAULT) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (origin, record) for every row of a CSV file, gzipped or not; the origin is "FILE:LINE" of its first line.

    The keys are those of the header row. The cells of `TEXTS` and `LABELS`, and of columns that `reading.columns` reads
    as these, are text. Another cell is JSON if it can be read so (a number, `true`, `[2, 1]`), else text; an empty one
    is absent.

    Raises:
        InputError: the file is missing, broken, a FIFO, a device or beyond a limit of `reading`, has no header or no
            rows, or a row has another number of cells.
    """
    path = file_path(path)
    require_regular(path)
    csv.field_size_limit(reading.max_line_bytes)
    left = reading.most_bytes(os.path.getsize(path) if path.endswith(".gz") and os.path.isfile(path) else None)
    opened = gzip.open if path.endswith(".gz") else open
    line = 1
    try:
        with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, strict=True)
            header = next(rows, [])
            if not header or "" in header or len(set(header)) < len(header):
                raise InputError(f"{path}: its first line must name every column, each once, found {header}")
            key_of = {column: key for key, column in reading.column_of.items()}
            keys = [key_of.get(column, column) for column in header]
            line = rows.line_num + 1
            found = False
            for row in rows:
                if row and len(row) != len(header):
                    raise InputError(
                        f"{path}:{line}: {len(row)} cells, but the header names {len(header)}: cells are separated by "
                        'commas, and a cell with a comma or a line break is in quotation marks ("...")'
                    )
                left -= sum(map(len, row))
                if left < 0:
                    raise InputError(f"{path}:{line}: the file has more than max_file_bytes after decompression")
                if row:
                    yield f"{path}:{line}", dict(zip(header, map(_value, keys, row), strict=True))
                    found = True
                line = rows.line_num + 1
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}:{line}: not a CSV file in UTF-8 that can be read ({error})") from None
    if not found:
        raise InputError(f"{path}: has no rows below its header")


def _value(key: str, cell: str) -> Any:
    if key in TEXTS or not cell:
        return cell if key in TEXTS else None
    try:
        return cell if key in LABELS else json.loads(cell)
    except (ValueError, RecursionError):
        return cell
