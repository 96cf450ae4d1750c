"""Imports run one way: experiments -> rlhf -> evaluation -> training -> scoring -> models -> data."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ["data", "models", "scoring", "training", "evaluation", "rlhf"]  # each may import itself and those before it
FILES = sorted((ROOT / "rmjax").rglob("*.py"))


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


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_itself_and_the_rooms_before_it(path):
    parts = path.relative_to(ROOT / "rmjax").parts
    if len(parts) == 1:
        pytest.skip("belongs to no room")
    allowed = ROOMS[: ROOMS.index(parts[0]) + 1]
    rooms = {name.split(".")[1] for name in imports(path) if name.startswith("rmjax.")} & set(ROOMS)
    assert rooms <= set(allowed)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_library_knows_no_flags_and_no_configuration_files(path):
    tops = {name.split(".")[0] for name in imports(path)}
    assert not tops & {"absl", "ml_collections", "configs", "experiments", "torch", "tensorflow"}


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
