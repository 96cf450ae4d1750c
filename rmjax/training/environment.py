"""Versions, source commit and devices of a run, for `environment.json`."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax

import rmjax

PACKAGES = ("flax", "jax", "jaxlib", "numpy", "optax", "orbax-checkpoint", "tokenizers", "transformers")


def environment() -> dict[str, Any]:
    """Date, versions, source commit, devices and command, for `environment.json`."""
    commit, changed = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "rmjax": rmjax.__version__,
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "commit": commit or None,
        "uncommitted_changes": bool(changed),
        "devices": [str(device) for device in jax.devices()],
        "processes": jax.process_count(),
        "command": sys.argv,
    }


def _git(*arguments: str) -> str:
    """Returns the output of git in the source folder; empty without git or outside a clone."""
    try:
        found = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return found.stdout.strip()
