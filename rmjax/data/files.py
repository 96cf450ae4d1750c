"""Reading of files that may be damaged or hostile: regular files only, JSON of a limited size."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from rmjax.errors import InputError

LARGEST_JSON = 64 * 2**20  # bytes

# Files that this process has open already, such as standard input, cannot keep it waiting for a writer.
_OPEN = re.compile(r"/dev/(stdin|fd/\d+)")


def require_regular(path: str | Path) -> None:
    """Raises InputError if `path` exists and is a FIFO, a device or a socket: reading one may never end.

    Standard input is allowed under its names /dev/stdin and /dev/fd/0.
    """
    path = Path(path)
    if "\0" in str(path):
        raise InputError(f"{str(path)!r} is not the name of a file: it has a NUL")
    try:
        special = path.exists() and not (path.is_file() or path.is_dir() or _OPEN.fullmatch(str(path)))
    except OSError as error:  # such as a name that is too long
        raise InputError(f"{str(path)[:200]}: cannot be read ({error.strerror})") from None
    if special:
        raise InputError(f"{path}: is a FIFO, a device or a socket, expected a file; for a stream use standard input")


def require_regular_files(folder: Path) -> None:
    """Raises InputError if a file of `folder` is a FIFO, a device or a socket."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        require_regular(path)


def read_json(path: Path, largest: int = LARGEST_JSON) -> Any:
    """Returns the content of a JSON file.

    Raises:
        InputError: it is missing, no regular file, larger than `largest` bytes, or not JSON.
    """
    require_regular(path)
    try:
        if path.stat().st_size > largest:
            raise InputError(f"{path} has more than {largest:,} bytes: it is not the file that was written here")
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error})") from None
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}): it was damaged or edited") from None
