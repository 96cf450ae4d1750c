"""Output file of a script: complete or absent, a device, or standard output."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from rmjax.errors import InputError


def is_stdout(output: str) -> bool:
    """Returns True if `output` is standard output: `-`, /dev/stdout, or the file that a shell redirects it to."""
    return output == "-" or (os.path.exists(output) and os.path.samestat(os.stat(output), os.fstat(1)))


@contextlib.contextmanager
def written(output: str, to_stdout: bool) -> Iterator[IO[str]]:
    """Opens the file to write; a regular file gets its name when it is complete.

    Raises:
        InputError: the file cannot be opened, or its reader has stopped.
    """
    path = Path(os.path.realpath(output))  # the target of a symbolic link
    direct = to_stdout or (os.path.exists(output) and not path.is_file())
    if not direct and not path.parent.is_dir():
        raise InputError(f"the folder of --output={output} does not exist")
    partial = path.with_name(path.name + ".partial")
    target = 1 if to_stdout else output if direct else partial
    try:
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(open(target, "w", encoding="utf-8", closefd=not to_stdout))
            except OSError as error:
                raise InputError(f"--output={output} cannot be written ({error.strerror}): name another file") from None
            yield file
        if not direct:
            os.replace(partial, path)
    except BrokenPipeError:
        raise InputError(f"--output={output}: its reader stopped before all was written") from None
    finally:
        if not direct:
            partial.unlink(missing_ok=True)
