"""Executes the tutorial from its first cell and stores the outputs in it.

    python notebooks/execute.py

Run this after any change to a cell: `tests/test_tutorial.py` compares the cells with those that were executed. It takes
the finished runs of `runs/tutorial`; remove this folder to measure the times again.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parent / "tutorial.ipynb"


def fingerprint(notebook: nbformat.NotebookNode) -> str:
    """Returns a sha256 over the sources of the code cells."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def execute(path: Path, folder: Path, timeout: int) -> nbformat.NotebookNode:
    """Returns the notebook with the outputs of a new kernel in `folder`; `timeout` is in seconds for each cell."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=timeout, resources={"metadata": {"path": str(folder)}}, record_timing=False
    )
    client.execute()
    notebook.metadata["executed"] = fingerprint(notebook)
    return notebook


if __name__ == "__main__":
    nbformat.write(execute(NOTEBOOK, NOTEBOOK.parent, timeout=3600), NOTEBOOK)
