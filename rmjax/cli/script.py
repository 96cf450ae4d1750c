"""Entry point of a script: parses its flags, prints its help, and reports an error in one sentence."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Sequence

from absl import flags
from ml_collections import config_flags

from rmjax.cli import usage
from rmjax.cli.training_flags import CONFIG, config_dict, join_processes
from rmjax.errors import InputError, renamed


def run(main: Callable[[], None], argv: Sequence[str] | None = None) -> None:
    """Parses the flags, runs `main`, and exits: 0 done, 1 an input that cannot be used, 2 a wrong command line."""
    argv = sys.argv if argv is None else argv
    if usage.asked(argv):
        try:
            print(usage.page(argv))
        except InputError as error:
            _fail(str(error), 2)
        sys.exit()
    try:
        rest = flags.FLAGS(argv, known_only=False)
        if len(rest) > 1:
            raise InputError(f"unexpected argument {rest[1]!r}: options are written --name=value")
        if CONFIG in flags.FLAGS:
            config_dict()  # a file that cannot be loaded is an error only when the configuration is asked for
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError, ImportError, SyntaxError) as error:
        # ml_collections reports an unknown field as AttributeError or KeyError, a wrong type as TypeError, and whatever
        # goes wrong inside a configuration file as it is.
        if len(argv) == 1:
            print(usage.short(), end="\n\n", file=sys.stderr)
        _fail(_flag_message(error), 2)
    try:
        if CONFIG in flags.FLAGS:
            join_processes()
        main()
    except InputError as error:
        _fail(str(error), 1)
    except KeyboardInterrupt:
        _fail("interrupted", 130)


def _flag_message(error: Exception) -> str:
    text = str(error.args[0] if error.args else error).strip()
    if missing := re.findall(r"Flag (--\w+) must have a value other than None", text):
        return f"{' and '.join(missing)} must be given"
    if isinstance(error, OSError):
        return f"--{CONFIG}={config_flags.get_config_filename(flags.FLAGS[CONFIG])}: {text.splitlines()[-1].strip()}"
    if "Traceback" in text:  # of the configuration file; its last line says what is wrong
        text = text.splitlines()[-1].partition("Error: ")[2]
    if text[:1] in ("'", '"') and text[:1] == text[-1:]:  # the message of a KeyError comes as its repr
        text = ast.literal_eval(text)
    for name in re.findall(r"--config\.([\w.]+)", " ".join(sys.argv)):
        if message := renamed(name):
            return message
    if re.fullmatch(r"'?\w+'?", text):  # all that ml_collections says where no other field is spelled alike
        text = f"this configuration has no field {text.strip(chr(39))!r}"
    return " ".join(text.split())


def _fail(message: str, status: int) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(status)
