"""MkDocs hook: the README and other pages, under their paths in the repository, so that their links are whole."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
# Pages, and the files that they link to.
ADDED = ("*.md", "docs/*.md", "docs/*.png", "benchmarks/*.md", "configs/**/*.py")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the files to those of docs/api."""
    for pattern in ADDED:
        for path in sorted(ROOT.glob(pattern)):
            files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


class Docstrings(griffe.Extension):
    """Docstrings as the parser and Markdown know them."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Renames "Example:" to "Examples:", the name of the section, and puts an empty line before each list."""
        if obj.docstring:
            text = re.sub(r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)
            obj.docstring.value = re.sub(r"^( *)((?!- |>>> )\S.*\n)(?=\1- )", r"\1\2\n", text, flags=re.MULTILINE)
