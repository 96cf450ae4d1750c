"""Configurations by name, from Python."""

from __future__ import annotations

import contextlib
import importlib
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import rmjax
from rmjax.errors import InputError

if TYPE_CHECKING:
    from ml_collections import ConfigDict

NO_RUNS = ("overoptimisation", "variants")  # files of configs/ that describe no run
REPOSITORY = Path(rmjax.__file__).resolve().parent.parent


def config(name: str) -> ConfigDict:
    """Returns a configuration of the folder `configs/`, to change and to give to `rmjax.train`.

    The folder is in the repository and in no wheel. So this needs `pip install -e .` in a clone. Any nested dict with
    the same fields can take its place.

    Args:
        name: `helpful`, `helpful:minilm` (a variant of configs/variants.py), or a file, as `mine.py` or `mine.py:gpt2`.

    Raises:
        InputError: there is no such configuration or variant, or rmjax was not installed from a clone.

    Example:
        >>> settings = config("helpful")
        >>> settings.train.epochs
        1
        >>> config("helpful:gpt2").model.pretrained
        'openai-community/gpt2'
    """
    page, colon, variant = name.partition(":")
    folder = REPOSITORY / "configs"
    file = Path(page) if page.endswith(".py") else folder / f"{page}.py"
    if not file.is_file() and file.is_relative_to(folder) and not folder.is_dir():
        raise InputError(
            f"the configuration {name!r} is not here: configs/ is in the repository and not in the installed package: "
            "run pip install -e . in a clone, or give the settings as a dict"
        )
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in folder.glob("*.py") if path.stem not in NO_RUNS))
        raise InputError(f"there is no configuration {name!r}: known are {known}, or give a file that ends with .py")
    with _importable_configs():
        get_config = page_function(file)
        try:
            return get_config(variant) if colon else get_config()
        except ValueError as error:
            raise InputError(f"the configuration {name!r} cannot be built: {error}") from None


def page_function(file: Path) -> Callable[..., ConfigDict]:
    """Returns the function `get_config` of a configuration file."""
    return runpy.run_path(str(file))["get_config"]


@contextlib.contextmanager
def _importable_configs() -> Iterator[None]:
    """Lets configurations import each other as `configs.NAME`; another module `configs` of the caller comes back."""
    theirs = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "configs"}
    sys.path.insert(0, str(REPOSITORY))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(REPOSITORY))
        for name in [name for name in sys.modules if name.partition(".")[0] == "configs"]:
            del sys.modules[name]
        sys.modules.update(theirs)
