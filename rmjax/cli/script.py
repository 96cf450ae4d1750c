"""Entry point of a script: flags, help, and errors in one sentence."""

from __future__ import annotations

import ast
import contextlib
import errno
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from rmjax.cli import usage
from rmjax.cli.training_flags import CONFIG, config_dict, config_text, join_processes
from rmjax.errors import InputError, printable, renamed
from rmjax.training.signals import ended_at_once

# Errors of a disk and of permissions, which a user can correct.
OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}


def run(main: Callable[[], None], argv: Sequence[str] | None = None, *, resumes: bool = False) -> None:
    """Parses the flags and runs `main`; exits with 0 for success, 1 for invalid input, 2 for a wrong command line.

    `resumes`: the script trains, and after a signal its command goes on from what is saved.
    """
    try:
        _run(main, sys.argv if argv is None else argv, resumes=resumes)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python writes what is left at its end, and would report the closed pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        _fail("the reader of standard output stopped before all was written", 1)


def _run(main: Callable[[], None], argv: Sequence[str], *, resumes: bool) -> None:
    if usage.asked(argv):
        try:
            print(usage.page(argv), flush=True)
        except InputError as error:
            _fail(str(error), 2)
        sys.exit()
    try:
        rest = flags.FLAGS(argv, known_only=False)
        if len(rest) > 1:
            raise InputError(f"unexpected argument {rest[1]!r}: options are written --name=value")
        if CONFIG in flags.FLAGS:
            config_dict()  # an error in the file is raised only when the configuration is read
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError, ImportError, SyntaxError) as error:
        # ml_collections raises AttributeError or KeyError for an unknown field and TypeError for a wrong type. Every
        # exception of a configuration file passes through it.
        if len(argv) == 1:
            print(usage.short(), end="\n\n", file=sys.stderr)
        _fail(_flag_message(error), 2)
    try:
        if CONFIG in flags.FLAGS and flags.FLAGS.print_config:
            print(config_text())
            return
        if CONFIG in flags.FLAGS:
            join_processes()
        with ended_at_once() if resumes else contextlib.nullcontext():
            main()
    except InputError as error:
        _fail(str(error), 1)
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.errno not in OF_THE_DISK:
            raise
        _fail(f"{error.filename or 'a file'} cannot be read or written ({error.strerror})", 1)
    except KeyboardInterrupt:
        _fail("interrupted", 130)


def _flag_message(error: Exception) -> str:
    text = str(error.args[0] if error.args else error).strip()
    if missing := re.findall(r"Flag (--\w+) must have a value other than None", text):
        return f"{' and '.join(missing)} must be given"
    if isinstance(error, OSError):
        named = config_flags.get_config_filename(flags.FLAGS[CONFIG])
        path = Path(named.partition(":")[0])
        if path.exists():
            return f"--{CONFIG}={named}: {text.splitlines()[-1].strip()}"
        files = sorted(path.parent.glob("*.py"))
        known = [str(file) for file in files if "def get_config" in file.read_text(encoding="utf-8", errors="replace")]
        return f"--{CONFIG}={path}: no such file" + (f"; there are {', '.join(known)}" if known else "")
    if "Traceback" in text:  # of the configuration file; its last line has the message
        text = text.splitlines()[-1].partition("Error: ")[2]
    if text[:1] in ("'", '"') and text[:1] == text[-1:]:  # the message of a KeyError is its repr
        text = ast.literal_eval(text)
    if text.startswith("Unknown command line flag") and CONFIG in flags.FLAGS:
        text += f". A field of the configuration is written --{CONFIG}.NAME=VALUE, as in --{CONFIG}.train.max_steps=30"
    names = re.findall(r"--config\.([\w.]+)", " ".join(sys.argv))
    for name in names:
        if message := renamed(name):
            return message
    if re.fullmatch(r"'?\w+'?", text):  # the whole message of ml_collections if no other field has a similar name
        part = text.strip("'")
        where = ", ".join(f"--{CONFIG}.{name}" for name in names if part in name.split("."))
        text = f"this configuration has no field {part!r}: check {where}"
    return " ".join(text.split())


def _fail(message: str, status: int) -> None:
    print(printable(f"error: {message}"), file=sys.stderr)
    sys.exit(status)
