"""What is read back is what was drawn."""

import pytest

from rmjax.data import gold, gold_store, kept


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "FOLDER", str(tmp_path))


@pytest.fixture
def drawn(monkeypatch):
    """What was drawn rather than read, by name."""
    names = []
    for what in ("comparisons", "demonstrations"):
        draw = getattr(gold, what)

        def counted(name, split, draw=draw):
            names.append(draw.__name__)
            return draw(name, split)

        counted.__name__ = what
        monkeypatch.setattr(gold, what, counted)
    return names


@pytest.mark.parametrize("what", ["comparisons", "demonstrations"])
@pytest.mark.parametrize("name", gold.NAMES)
def test_a_split_is_drawn_once_and_read_back_equal(what, name, drawn):
    first = getattr(gold_store, what)(name, "validation")
    again = getattr(gold_store, what)(name, "validation")
    assert drawn == [what]
    assert first == again == getattr(gold, what)(name, "validation")


def test_other_code_is_drawn_again(drawn, monkeypatch):
    gold_store.demonstrations("helpful", "validation")
    monkeypatch.setattr(gold_store, "CODE", gold_store.CODE[:-1])
    gold_store.demonstrations("helpful", "validation")
    assert drawn == ["demonstrations"] * 2
