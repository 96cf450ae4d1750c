"""Tokenizers from local folders and from the Hugging Face hub."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import Any

from rmjax.data.chat_template import named_template
from rmjax.data.files import require_regular_files
from rmjax.data.tokenizer import Tokenizer
from rmjax.errors import InputError


def open_tokenizer(path: str, *, template: str = "", max_prompt: int, max_response: int, **settings: Any) -> Tokenizer:
    """Loads a tokenizer from a local folder or a hub id.

    Args:
        path: as for `AutoTokenizer.from_pretrained`; code from the hub is never run.
        template: a name in `TEMPLATES` that replaces the tokenizer's own chat template; empty keeps its own.
        max_prompt: see `Tokenizer`.
        max_response: see `Tokenizer`.
        settings: further arguments of `Tokenizer`.

    Raises:
        InputError: it cannot be opened, or `template` is unknown.
    """
    require_regular_files(Path(path))
    try:
        tokenizer = import_transformers().AutoTokenizer.from_pretrained(path, trust_remote_code=False, use_fast=True)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the parser in Rust panics with a BaseException, and Python raises of every kind
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"no tokenizer at {path!r} ({reason}): give a folder that contains tokenizer.json and "
            "tokenizer_config.json, or a hub id while the network is reachable"
        ) from None
    if not tokenizer.is_fast:
        raise InputError(f"the tokenizer at {path!r} has no tokenizer.json: save it as a fast tokenizer first")
    if template:
        tokenizer.chat_template = named_template(template, tokenizer)
    return Tokenizer(tokenizer, max_prompt=max_prompt, max_response=max_response, **settings)


def import_transformers() -> ModuleType:
    """Returns the module `transformers`, imported without its advice to install PyTorch, which only models need."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    import transformers

    return transformers
