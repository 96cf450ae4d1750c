"""Files that cannot be written: one sentence, the old content, and nothing incomplete."""

import errno
import os

import pytest

from rmjax import durable
from rmjax.durable import write_durably, writing
from rmjax.errors import InputError


def test_a_file_is_replaced_whole(tmp_path):
    write_durably(tmp_path / "a.json", b"old")
    write_durably(tmp_path / "a.json", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.json", b"new")]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_on_a_full_disk_the_old_content_stays_and_nothing_is_left(tmp_path, monkeypatch, call):
    write_durably(tmp_path / "a.json", b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(durable.os, call, full)
    with pytest.raises(InputError, match=r"a\.json cannot be written \(No space left on device\): .*same command"):
        write_durably(tmp_path / "a.json", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.json", b"old")]


def test_a_library_may_state_the_reason_in_its_own_exception(tmp_path):
    partial = tmp_path / "7.partial"
    partial.mkdir()
    expected = pytest.raises(InputError, match=r"7 cannot be written \(No space left on device\)")
    with expected, writing(tmp_path / "7", partial):
        raise ValueError("RESOURCE_EXHAUSTED: Error writing: No space left on device [source ...]")
    assert not partial.exists()


def test_an_error_of_another_kind_is_not_hidden(tmp_path):
    with pytest.raises(ValueError, match="shapes"), writing(tmp_path / "7"):
        raise ValueError("shapes differ")
