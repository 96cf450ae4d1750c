"""What is read back is what was drawn, and whatever is wrong with the files, the corpus stays the same."""

import gzip

import pytest

from rmjax.data import gold, gold_store


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(gold_store, "FOLDER", str(tmp_path / "cache"))
    return tmp_path / "cache"


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


@pytest.mark.parametrize("spoil", [lambda b: b[:-20], lambda b: b"no gzip", lambda b: gzip.compress(b'[["x"]]')])
def test_a_damaged_file_is_drawn_again(spoil, drawn, folder):
    first = gold_store.demonstrations("helpful", "validation")
    (path,) = folder.rglob("*.json.gz")
    path.write_bytes(spoil(path.read_bytes()))
    assert gold_store.demonstrations("helpful", "validation") == first
    assert gold_store.demonstrations("helpful", "validation") == first
    assert drawn == ["demonstrations"] * 2


def test_other_code_has_another_folder(monkeypatch):
    before = gold_store._digest()
    monkeypatch.setattr(gold_store, "CODE", gold_store.CODE[:-1])
    gold_store._digest.cache_clear()
    assert gold_store._digest() != before
    gold_store._digest.cache_clear()


def test_a_folder_that_cannot_be_written_is_no_error(folder, drawn):
    folder.write_text("a file")
    assert len(gold_store.demonstrations("helpful", "validation")) == gold.DEMONSTRATIONS["validation"]
    assert drawn == ["demonstrations"]
