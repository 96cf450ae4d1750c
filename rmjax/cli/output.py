"""Output file of a script: complete or absent, a device, or standard output."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from rmjax.errors import InputError


def is_stdout(output: str) -> bool:
    """Returns True if `output` is standard output: `-`, /dev/stdout, or the file that a shell redirects it to."""
    return output == "-" or (os.path.exists(output) and os.path.samestat(os.stat(output), os.fstat(1)))


@contextlib.contextmanager
def console_apart_from(output: str | None) -> Iterator[None]:
    """Sends what is printed to standard error if the result goes to standard output.

    Raises:
        InputError: the folder of the output does not exist.
    """
    to_stdout = output is not None and is_stdout(output)
    if output is not None and not to_stdout and not Path(output).parent.is_dir():
        raise InputError(f"the folder of --output={output} does not exist")
    with contextlib.redirect_stdout(sys.stderr) if to_stdout else contextlib.nullcontext():
        yield


def write_result(output: str, result: Any, further: dict[str, bytes] | None = None) -> None:
    """Writes a result as JSON with further files in its folder, and prints their names.

    Args:
        output: a file, a device, or `-` for standard output.
        result: JSON values.
        further: contents of these files, by the ending that replaces the ending of `output`. Empty ones are
            not written, and none of them next to a device or to standard output, which have no folder for them.

    Raises:
        InputError: the output cannot be written.
    """
    text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
    if is_stdout(output) or (os.path.exists(output) and not Path(output).is_file()):
        write_output(output, text)
        return
    files = {Path(output).with_suffix(ending): content for ending, content in (further or {}).items() if content}
    for path, content in files.items():
        path.write_bytes(content)
    write_output(output, text)  # last: a sweep takes a run with this file as finished
    print(f"\nWritten: {', '.join(map(str, (output, *files)))}")


def write_output(output: str, text: str) -> None:
    """Writes a text to a file, to a device, or for `-` to standard output.

    Raises:
        InputError: the output cannot be written.
    """
    with written(output, is_stdout(output)) as file:
        file.write(text)


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
