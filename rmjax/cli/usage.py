"""Help of the scripts: the text of --help, and the short usage of a command without flags."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from rmjax.cli.configurations import page_function
from rmjax.cli.runtime import repository
from rmjax.cli.training_flags import flat_fields
from rmjax.errors import InputError

HELP = {"h", "help", "helpshort", "helpfull"}
WIDTH, COLUMN = 110, 44  # of the text, and the start of its right column
SHOWN = 70  # maximum characters of a value
TYPES = {"string": "TEXT", "int": "INTEGER", "float": "NUMBER", "config object": "FILE"}
TYPES |= {"comma separated list of strings": "TEXT,...", "multi string": "TEXT"}
# A line of a configuration that sets a field, with its comment; an entry of "Args:" in a docstring.
SETTING = re.compile(r"^ +(?:config\.)?([\w.]+) = .*?(?:  # (.*))?$", re.MULTILINE)
ARGUMENT = re.compile(r"^ {8}(\w+): (.*(?:\n {12}.*)*)$", re.MULTILINE)


def asked(argv: Sequence[str]) -> bool:
    """Returns True if a command line asks for help."""
    return any(word.startswith("-") and word.lstrip("-") in HELP for word in argv[1:])


def short() -> str:
    """Returns the usage line of the script, and an example."""
    example = next(line.strip() for line in _docstring().splitlines() if line.strip().startswith("python "))
    return f"{_usage()}\nexample: {example}\nAll flags: python experiments/{_script()} --help"


def page(argv: Sequence[str]) -> str:
    """Returns the text of --help: usage, docstring and flags; configurations, variants and fields, if any.

    The fields are those of the configuration that `argv` names, or else of the one in the docstring.

    Raises:
        InputError: that configuration cannot be read.
    """
    parts = [_usage(), _docstring().strip(), _section("Flags:", map(_flag, _own_flags()))]
    if "config" in flags.FLAGS:
        example = re.search(r"--config=(\S+)", _docstring())
        parts += _configuration(_named(argv) or (example[1] if example else ""))
    return "\n\n".join(parts)


def _script() -> str:
    return Path(sys.argv[0]).name


def _docstring() -> str:
    return sys.modules["__main__"].__doc__ or ""


def _usage() -> str:
    required = [f"--{flag.name}={_kind(flag)}" for flag in _own_flags() if _is_required(flag)]
    fields = ["[--config.FIELD=VALUE ...]"] if "config" in flags.FLAGS else []
    return " ".join(["usage: python", f"experiments/{_script()}", *required, "[--FLAG=VALUE ...]", *fields])


def _own_flags() -> list[flags.Flag]:
    by_module = flags.FLAGS.flags_by_module_dict()
    modules = ("rmjax.cli.training_flags", "rmjax.cli.checkpoint_flags", "rmjax.cli.reading_flags", sys.argv[0])
    found = [flag for module in modules for flag in by_module.get(module, [])]
    return sorted(found, key=lambda flag: not _is_required(flag))


def _is_required(flag: flags.Flag) -> bool:
    return any("must have a value" in validator.message for validator in flag.validators)


def _kind(flag: flags.Flag) -> str:
    return "|".join(flag.parser.enum_values) if isinstance(flag, flags.EnumFlag) else TYPES[flag.flag_type()]


def _flag(flag: flags.Flag) -> tuple[str, str]:
    """Returns the name and type of a flag, and its description."""
    text = re.sub(r"^<.*?>: |;\s+repeat this option.*", "", flag.help)  # absl adds text that repeats the type
    name = f"--[no]{flag.name}" if flag.flag_type() == "bool" else f"--{flag.name}={_kind(flag)}"
    if _is_required(flag):
        return name, f"{text} Required."
    stated = flag.default not in (None, "", [])
    return name, f"{text} Default: {_shown(flag.default)}." if stated else text


def _named(argv: Sequence[str]) -> str:
    """Returns the configuration that a command line names, as --config=FILE or --config FILE; empty: none."""
    for word, following in zip(argv[1:], [*argv[2:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name in ("--config", "-config"):
            return value if equals else "" if following.startswith("-") else following
    return ""


def _configuration(named: str) -> Iterator[str]:
    """Yields the sections on configurations, variants and fields."""
    path, colon, variant = named.partition(":")
    root = repository()
    names = {str(file.relative_to(root)): ast.parse(file.read_text()) for file in sorted(root.glob("configs/**/*.py"))}
    pages = {name: ast.get_docstring(tree) or "" for name, tree in names.items()}
    called = {name: text for name, text in pages.items() if f"{_script()} --config={name}" in text}
    yield _section("Configurations, for --config=FILE:", ((name, _first(text)) for name, text in called.items()))
    file = Path(path) if Path(path).is_file() else root / path
    if not file.is_file():
        raise InputError(f"--config={named}: no such file")
    try:
        build = page_function(file)
        config = dict(flat_fields(build(variant) if colon else build()))
    except Exception as error:  # a configuration is a program of the user's
        raise InputError(f"--config={named}: {error}") from None
    if "variant" in inspect.signature(build).parameters:
        from configs.variants import ENCODERS, VARIANTS

        refused = ENCODERS if _script() in ("sft.py", "ppo.py") else ()
        variants = ((n, _first(inspect.getdoc(make) or "")) for n, make in VARIANTS.items() if n not in refused)
        yield _section("Variants of them, pretrained, for --config=FILE:VARIANT (configs/variants.py):", variants)
    notes = _notes(file)
    order = {name: place for place, name in enumerate(notes)}
    groups = list(dict.fromkeys(name.partition(".")[0] for name in (*notes, *config)))
    rows = [
        (f"{name}={_shown(config[name])}", notes.get(name, ""))
        for name in sorted(config, key=lambda name: (groups.index(name.partition(".")[0]), order.get(name, len(order))))
    ]
    yield _section(f"Fields of {named} and their values, for --config.FIELD=VALUE:", rows)


def _notes(page: Path) -> dict[str, str]:
    """Returns the comment of each field in the sources of a configuration, in their order."""
    bases = ["sweeps/page.py"] if _script() == "sweep.py" else ["helpful.py", "variants.py"]
    notes: dict[str, str] = {}
    for base in bases:
        text = (repository() / "configs" / base).read_text()
        for name, note in (*ARGUMENT.findall(text), *SETTING.findall(text)):
            # A function of configs/helpful.py sets the fields of both stages.
            for field in (name, name.replace("train.", "sft.")) if name.startswith("train.") else (name,):
                notes[field] = notes.get(field) or " ".join(note.split())
    if _script() == "ppo.py":  # models has the fields of configs/helpful.py
        notes |= {f"models.{name}": note for name, note in notes.items()}
    return notes | {name: note for name, note in SETTING.findall(page.read_text()) if note}


# --- layout -----------------------------------------------------------------------------------------------------------


def _first(text: str) -> str:
    """Returns the first paragraph of a docstring."""
    return text.partition("\n\n")[0].replace("\n", " ")


def _shown(value: Any) -> str:
    text = " ".join(str(value).split()) or "''"
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def _section(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """Returns a title and rows of two columns; if the left cell is too long, the right one begins on the next line."""
    lines = [title]
    for left, right in rows:
        wrapped = textwrap.wrap(right, WIDTH - COLUMN, break_on_hyphens=False)
        if len(left) + 4 > COLUMN or not wrapped:
            lines.append(f"  {left}")
        else:
            lines.append(f"  {left}".ljust(COLUMN) + wrapped.pop(0))
        lines += [" " * COLUMN + line for line in wrapped]
    return "\n".join(lines)
