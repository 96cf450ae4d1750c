"""On-disk cache: stored results are returned unchanged, and damaged files are computed again."""

import os

import pytest

from rmjax.data import disk_cache as store
from rmjax.data.disk_cache import cached, source_digest


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "FOLDER", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def ask():
    """Asks for a number's square; `ask.made` are those that had to be computed."""

    def ask(number: int) -> int:
        def make() -> int:
            ask.made.append(number)
            return number**2

        return cached("square", str(number).encode(), make, lambda square: [str(square).encode()], int)

    ask.made = []
    return ask


def test_it_is_made_once_for_equal_input_and_again_for_other_input(ask, folder):
    assert [ask(3), ask(3), ask(4), ask(3)] == [9, 9, 16, 9]
    assert ask.made == [3, 4]
    assert all(path.name.startswith("square-") for path in folder.iterdir())


@pytest.mark.parametrize(
    "spoil", [lambda b: b[:-1], lambda b: b"", lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b[::-1]]
)
def test_a_damaged_file_is_made_again(spoil, ask, folder):
    ask(3)
    (path,) = folder.iterdir()
    path.write_bytes(spoil(path.read_bytes()))
    assert [ask(3), ask(3)] == [9, 9]
    assert ask.made == [3, 3]


def test_a_folder_that_cannot_be_written_is_no_error(ask, folder):
    folder.write_text("a file")
    assert [ask(3), ask(3)] == [9, 9]
    assert ask.made == [3, 3]


def test_a_failure_leaves_no_file(folder):
    def make() -> int:
        raise ValueError("cannot")

    with pytest.raises(ValueError, match="cannot"):
        cached("square", b"3", make, bytes, int)
    assert not folder.exists()


def test_what_was_not_used_for_longest_makes_room(ask, folder, monkeypatch):
    monkeypatch.setattr(store, "LIMIT", 3 * 35)  # a sha256 and at most three digits each
    for age, number in enumerate((11, 12, 13), start=1):
        ask(number)
        for path in folder.iterdir():
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 10 * age))
    ask(11)  # the oldest, but used
    ask(14)
    ask.made.clear()
    assert [ask(11), ask(13), ask(14)] == [121, 169, 196]
    assert ask.made == []
    assert ask(12) == 144
    assert ask.made == [12]


def test_one_file_that_is_too_large_by_itself_stays(ask, monkeypatch):
    monkeypatch.setattr(store, "LIMIT", 1)
    assert [ask(3), ask(3)] == [9, 9]
    assert ask.made == [3]


def test_other_source_code_computes_again(ask, monkeypatch):
    ask(3)
    monkeypatch.setattr(store, "source_digest", lambda: source_digest() + b"a change")
    ask(3)
    assert ask.made == [3, 3]


def test_the_digest_of_the_source_covers_every_file_of_the_data_package(monkeypatch, tmp_path):
    for name in ("disk_cache.py", "tokenizer.py", "gold/texts.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    monkeypatch.setattr(store, "__file__", str(tmp_path / "disk_cache.py"))
    digests = {source_digest.__wrapped__()}
    for name in ("disk_cache.py", "tokenizer.py", "gold/texts.py"):
        (tmp_path / name).write_text("x = 2\n")
        digests.add(source_digest.__wrapped__())
    assert len(digests) == 4
