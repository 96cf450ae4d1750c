"""Output files of scripts: complete files, symbolic links, devices and FIFOs."""

import os
import stat
import threading

import pytest

from rmjax.cli.output import console_apart_from, is_stdout, write_result, written
from rmjax.errors import InputError


def write(output, text="new\n"):
    with written(str(output), is_stdout(str(output))) as file:
        file.write(text)


@pytest.mark.parametrize("existing", [True, False])
def test_a_symbolic_link_stays_and_the_file_it_points_to_is_written(tmp_path, existing):
    (tmp_path / "folder").mkdir()
    file, link = tmp_path / "folder" / "file.jsonl", tmp_path / "link.jsonl"
    if existing:
        file.write_text("old\n")
    link.symlink_to("folder/file.jsonl")
    write(link)
    assert os.readlink(link) == "folder/file.jsonl"
    assert file.read_text() == "new\n"
    assert [path.name for path in file.parent.iterdir()] == ["file.jsonl"]


def test_a_fifo_is_written_to_and_stays(tmp_path):
    fifo, read = tmp_path / "fifo", []
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: read.append(fifo.read_text()), daemon=True)
    reader.start()
    write(fifo)
    reader.join(10)
    assert read == ["new\n"]
    assert stat.S_ISFIFO(os.stat(fifo).st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["fifo"]


def test_a_file_is_replaced_only_when_all_is_written(tmp_path):
    file = tmp_path / "file.jsonl"
    file.write_text("old\n")

    def fail_halfway():
        with written(str(file), False) as opened:
            opened.write("half")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail_halfway()
    assert file.read_text() == "old\n"
    assert [path.name for path in tmp_path.iterdir()] == ["file.jsonl"]


def test_a_result_and_its_further_files_are_named_and_none_is_empty(tmp_path, capsys):
    further = {".outcomes.npz": b"123", ".mistakes.jsonl": b""}
    write_result(f"{tmp_path}/r.json", {"é": 1}, further)
    assert capsys.readouterr().out == f"\nWritten: {tmp_path}/r.json, {tmp_path}/r.outcomes.npz\n"
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "r.json": '{\n "é": 1\n}\n',
        "r.outcomes.npz": "123",
    }


def test_a_result_on_standard_output_is_alone_there(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with console_apart_from("-"):
        print("a table")
        write_result("-", [1], {".mistakes.jsonl": b"x"})
    assert capfd.readouterr() == ("[\n 1\n]\n", "a table\n")
    with console_apart_from(None):
        print("a table")
    assert capfd.readouterr() == ("a table\n", "")
    assert not list(tmp_path.iterdir())


def test_a_device_is_written_to_and_has_no_further_files():
    write_result(os.devnull, [1], {".mistakes.jsonl": b"x"})
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    assert not os.path.exists(f"{os.devnull}.mistakes.jsonl")


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (".", r"--output=.* cannot be written \(Is a directory\): name another file"),
        ("none/file.jsonl", "the folder of --output=.*none/file.jsonl does not exist"),
        ("/proc/file.jsonl", "--output=/proc/file.jsonl cannot be written"),
    ],
)
def test_what_cannot_be_written_is_an_error_before_anything_is_scored(tmp_path, output, message):
    with pytest.raises(InputError, match=message), written(str(tmp_path / output), False):
        pytest.fail("the body of the block must not run")


def test_standard_output_has_three_names(tmp_path, capfd):
    assert is_stdout("-")
    assert is_stdout("/dev/stdout")
    assert not is_stdout(str(tmp_path / "absent"))
    assert not is_stdout("/dev/null")
    write("-", "one\n")
    write("/dev/stdout", "two\n")
    assert capfd.readouterr().out == "one\ntwo\n"
