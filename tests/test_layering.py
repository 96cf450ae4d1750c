"""Imports run one way, from the scripts down to the data."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# A room may import itself and the rooms on the lines above its own.
ORDER = [
    {"data", "parallel"},
    {"models", "evaluation"},
    {"scoring"},
    {"training", "serving"},
    {"sweeps", "rlhf", "labelling"},
    {"report"},
    {"stages"},
    {"cli"},
]
ROOMS = set().union(*ORDER)
FILES = sorted((ROOT / "rmjax").rglob("*.py"))
SCRIPTS = sorted((ROOT / "experiments").glob("*.py"))


def imports(path: Path) -> set[str]:
    """Every module that a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room(path: Path) -> str:
    """The room of a file of the library, or "" for a file in none."""
    parts = path.relative_to(ROOT / "rmjax").parts
    return parts[0] if len(parts) > 1 else ""


def imported_rooms(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imports(path) if name.startswith("rmjax.")} & ROOMS


def test_every_folder_of_the_library_has_its_line_in_the_order():
    assert {room(path) for path in FILES} - {""} <= ROOMS


@pytest.mark.parametrize("path", [path for path in FILES if room(path)], ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_itself_and_the_rooms_before_it(path):
    line = next(i for i, rooms in enumerate(ORDER) if room(path) in rooms)
    allowed = set().union({room(path)}, *ORDER[:line])
    assert imported_rooms(path) <= allowed


@pytest.mark.parametrize("path", [path for path in FILES if room(path) == "evaluation"], ids=lambda path: path.name)
def test_measuring_needs_data_only(path):
    assert imported_rooms(path) <= {"evaluation", "data"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_command_line_knows_flags_and_configuration_files(path):
    tops = {name.split(".")[0] for name in imports(path)}
    forbidden = {"configs", "experiments", "torch", "tensorflow"}
    if room(path) != "cli":
        forbidden |= {"absl", "ml_collections"}
    # usage.py lists the variants of configs/variants.py in --help.
    assert not tops & forbidden - ({"configs"} if path.name == "usage.py" else set())


def test_no_script_imports_another():
    for path in SCRIPTS:
        tops = {name.split(".")[0] for name in imports(path)}
        assert not tops & {"experiments", *(other.stem for other in SCRIPTS)}


def test_scripts_can_be_imported_without_jax():
    """The process of a script must be prepared before jax is imported (`rmjax.cli.runtime`)."""
    names = ", ".join(f"experiments.{path.stem}" for path in SCRIPTS)
    code = f"import sys, {names}; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_no_test_and_no_benchmark_changes_the_path():
    for path in [*(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]:
        # The server of faults starts scripts as Python does, which puts their folder first.
        if path != Path(__file__).resolve() and path.name != "fork_server.py":
            assert "sys.path" not in path.read_text(encoding="utf-8"), path


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.py")), ids=lambda path: path.name)
def test_configurations_import_only_ml_collections_and_each_other(path):
    assert {name.split(".")[0] for name in imports(path)} <= {"ml_collections", "configs"}


def test_nothing_reads_a_field_with_a_fallback():
    """`config.get("b2", 0.98)` is a default nobody stated."""
    for path in [*FILES, *(ROOT / "experiments").glob("*.py")]:
        text = path.read_text(encoding="utf-8")
        assert "config.get(" not in text
        assert "settings.get(" not in text
        assert "getattr(config" not in text
