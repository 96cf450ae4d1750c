"""The cache of the gold corpus returns the corpus that was drawn."""

import pytest

from rmjax.data import disk_cache
from rmjax.data.gold import cache, corpus


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(disk_cache, "FOLDER", str(tmp_path))


@pytest.fixture
def drawn(monkeypatch):
    """Returns the names of the functions that drew the corpus anew."""
    names = []
    for what in ("comparisons", "demonstrations"):
        draw = getattr(corpus, what)

        def counted(name, split, draw=draw):
            names.append(draw.__name__)
            return draw(name, split)

        counted.__name__ = what
        monkeypatch.setattr(corpus, what, counted)
    return names


@pytest.mark.parametrize("what", ["comparisons", "demonstrations"])
@pytest.mark.parametrize("name", corpus.NAMES)
def test_a_split_is_drawn_once_and_read_back_equal(what, name, drawn):
    first = getattr(cache, what)(name, "validation")
    again = getattr(cache, what)(name, "validation")
    assert drawn == [what]
    assert first == again == getattr(corpus, what)(name, "validation")
