"""JSON-lines files."""

import collections
import gzip
import json

import pytest

from rmjax.data.jsonl import jsonl_records, read_jsonl
from rmjax.data.readers import READERS, Request, parse_records
from rmjax.data.records import parse_comparison
from rmjax.errors import InputError

PLAIN = {"prompt": "?", "chosen": "a", "rejected": "b"}
ASKED = {"prompt": "?", "responses": ["a", "b"]}


def read_comparisons(path):
    return list(parse_records(jsonl_records(path), parse_comparison))


def write(path, *lines):
    text = "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["data.jsonl", "data.jsonl.gz"])
def test_a_file_is_read_line_by_line(tmp_path, name):
    path = write(tmp_path / name, PLAIN, "\n", "  \r\n", ASKED | {"scores": [0, 1], "id": 1}, json.dumps(PLAIN))
    notes = collections.Counter()
    request = Request(str(path), "train", notes=notes)
    comparisons = READERS["jsonl"].comparisons(request)

    assert [c.origin for c in comparisons] == [f"{path}:1", f"{path}:4", f"{path}:5"]
    assert [c.ranks for c in comparisons] == [(1, 2), (2, 1), (1, 2)]
    assert notes == {'key "id" not read': 1}
    assert [d.response for d in READERS["jsonl"].read_demonstrations(request)] == ["a", "b", "a"]


def test_letters_beyond_ascii_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"prompt": "für\u2028dich"}, ensure_ascii=False).encode() + b"\n")
    assert list(read_jsonl(path)) == [(1, {"prompt": "für\u2028dich"})]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{'chosen': 1}\n", "2: not a JSON record (Expecting property name"),
        ('{"margin": NaN}\n', "2: not a JSON record (NaN is not a JSON number)"),
        ("[" * 200_000 + "\n", "2: not a JSON record"),
        ("{}\n", "2: a comparison is"),
        ({"chosen": "a", "rejected": "b"}, '2: "chosen" is plain text'),
    ],
    ids=["quotes", "NaN", "depth", "no keys", "plain text"],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    path = write(tmp_path / "data.jsonl", PLAIN, line)
    with pytest.raises(InputError) as refusal:
        read_comparisons(path)
    assert str(refusal.value).startswith(f"{path}:{message}")


def test_files_that_are_refused(tmp_path):
    whole = gzip.compress((json.dumps(PLAIN) + "\n").encode() * 100)
    latin = (json.dumps(PLAIN) + "\n").encode() + "{'ä'}\n".encode("latin-1")
    cases = [
        ("missing.jsonl", None, ": no such file"),
        ("empty.jsonl", b"", ": has no records"),
        ("blank.jsonl", b"\n \n", ": has no records"),
        ("empty.jsonl.gz", gzip.compress(b""), ": has no records"),
        ("latin.jsonl", latin, ":2: not UTF-8 text (byte 3 of the line)"),
        ("array.jsonl", b"[\n", "; write one JSON record on each line, or name a CSV file as csv:FILE"),
        ("records.jsonl", b'[{"prompt": "?"}]\n', "is one array of records needs one record on each line instead"),
        ("names.jsonl", b'{"question": "?"}\n', "read with data.columns=prompt=NAME,chosen=NAME,rejected=NAME"),
        ("plain.jsonl.gz", b"{}\n", ":1: not a complete gzip file"),
        ("cut.jsonl.gz", whole[:-10], "not a complete gzip file"),
        ("flipped.jsonl.gz", whole[:30] + b"\xff" + whole[31:], "not a complete gzip file"),
    ]
    (tmp_path / "folder.jsonl").mkdir()
    for name, content, message in [*cases, ("folder.jsonl", None, ": is a directory")]:
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError) as refusal:
            read_comparisons(path)
        assert str(refusal.value).startswith(str(path))
        assert message in str(refusal.value), name
