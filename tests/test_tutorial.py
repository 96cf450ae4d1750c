"""The tutorial notebook: the committed outputs are of its cells, and every cell runs tiny in a separate kernel."""

import base64
import importlib.util
import os
import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "notebooks" / "tutorial.ipynb"
SPEC = importlib.util.spec_from_file_location("execute_tutorial", NOTEBOOK.with_name("execute.py"))
SCRIPT = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(SCRIPT)

FIGURES = 11


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kind(output):
    """The type of a cell output: image/png, text/markdown, stdout, stderr or error."""
    shown = [name for name in ("image/png", "text/markdown") if name in output.get("data", {})]
    return shown[0] if shown else output.get("name", output.output_type)


def kinds(cell):
    """The kinds of a cell's outputs; what it prints at once may come in several parts."""
    found = [kind(output) for output in cell.outputs]
    return [each for i, each in enumerate(found) if each != "stdout" or found[i - 1 : i] != ["stdout"]]


@pytest.fixture(scope="module")
def committed():
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_committed_outputs_are_of_these_cells(committed):
    cells = code_cells(committed)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert committed.metadata["executed"] == SCRIPT.fingerprint(committed), "run python notebooks/execute.py"
    assert sum(kinds(cell).count("image/png") for cell in cells) == FIGURES
    assert {each for cell in cells for each in kinds(cell)} == {"image/png", "text/markdown", "stdout"}


def test_the_committed_notebook_is_small_and_names_no_machine(committed):
    assert NOTEBOOK.stat().st_size < 1.5 * 2**20
    for cell in code_cells(committed):
        for output in cell.outputs:
            data = output.get("data", {})
            text = "\n".join([output.get("text", ""), *(text for kind, text in data.items() if kind != "image/png")])
            if "image/png" in data:
                text += base64.b64decode(data["image/png"]).decode("latin-1")
            assert not re.search(r"/(?:root|home|tmp|work|Users)/", text)


def test_a_changed_cell_has_another_fingerprint(committed):
    changed = nbformat.from_dict(committed)
    before = SCRIPT.fingerprint(changed)
    code_cells(changed)[-1].source += "\n"
    assert SCRIPT.fingerprint(changed) != before


def test_every_cell_runs(tmp_path, monkeypatch, committed):
    monkeypatch.setenv("RMJAX_TUTORIAL_SCALE", "tiny")
    # Compilation is most of the time.
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "compiled"))
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    folder = tmp_path / "notebooks"
    folder.mkdir()
    executed = SCRIPT.execute(NOTEBOOK, folder, timeout=300)
    for number, (here, there) in enumerate(zip(code_cells(executed), code_cells(committed), strict=True), start=1):
        assert here.execution_count == number
        assert kinds(here) == kinds(there), here.source
    runs = {path.name.rpartition("-")[0] for path in (tmp_path / "runs" / "tutorial").iterdir() if path.is_dir()}
    assert runs == {"sft", "sft-short", "helpful", "helpful-random", "regression", "joint", "weak", "rloo", "rloo-weak"}
