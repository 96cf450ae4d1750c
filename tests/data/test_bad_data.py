"""Files that are malformed, too large or hostile: one sentence with file and line, or accepted as docs/data.md says."""

import collections
import gzip
import json
import os
import re

import numpy as np
import pytest

from rmjax.cli.script import _fail
from rmjax.data.audit import audit
from rmjax.data.files import require_regular
from rmjax.data.jsonl import read_jsonl, read_lines
from rmjax.data.reading import SMALL, Reading, misspelled
from rmjax.data.records import parse_comparison
from rmjax.data.sources import load_comparisons, load_demonstrations, load_prompts
from rmjax.errors import InputError, printable

GOOD = json.dumps({"prompt": "?", "chosen": "a", "rejected": "b"})
SMALL_LIMITS = Reading(max_line_bytes=200, max_file_bytes=400, max_depth=4, max_responses=3)


def pair(**fields):
    return json.dumps({"prompt": "?", "chosen": "a", "rejected": "b", **fields})


def ranked(**fields):
    return json.dumps({"prompt": "?", "responses": ["a", "b"], **fields})


# Line 2 of a file, and a part of the message.
LINES = {
    "not JSON": ("{", "not a JSON record"),
    "a string": ('"x"', "a record must be a JSON object"),
    "a number": ("7", "a record must be a JSON object"),
    "null": ("null", "a record must be a JSON object"),
    "no keys": ("{}", "found the keys (none)"),
    "NaN": (pair()[:-1] + ', "margin": NaN}', "NaN is not a JSON number"),
    "a number beyond a float": (pair()[:-1] + ', "other": 1e999}', "1e999 is beyond the range of a number"),
    "an integer beyond a float": (ranked(scores=[10**400, 1]), "the largest is 1e+15"),
    "a large margin": (pair(margin=1e308), '"margin" must hold finite numbers, found the number 1e+308'),
    "large ratings": (ranked(scores=[1e39, 1]), '"scores" must hold finite numbers, found the number 1e+39'),
    "a key twice": (pair()[:-1] + ', "chosen": "c"}', "the key 'chosen' occurs twice"),
    "a key twice inside": (pair(other=1)[:-2] + '{"a": 1, "a": 2}}', "the key 'a' occurs twice"),
    "half a pair in a text": (r'{"prompt": "?", "chosen": "\ud83d", "rejected": "b"}', "half of a surrogate pair"),
    "half a pair in another key": (pair()[:-1] + r', "\ud83d": 1}', "half of a surrogate pair"),
    "half a pair in another value": (pair()[:-1] + r', "id": "\ude00"}', "half of a surrogate pair"),
    "deep": ("[" * 100_000 + "]" * 100_000, "not a JSON record"),
    "deeper than the limit": (pair(other=[[[[[[0]]]]]]), "more than max_depth=4 objects and lists"),
    "a long line": (pair(chosen="a" * 300), "the line has more than max_line_bytes=200 bytes"),
    "many responses": (ranked(responses=list("abcd"), ranks=[1, 2, 3, 4]), "more than max_responses=3"),
    "many turns": (json.dumps([{"role": "prompter", "text": "?"}] * 4), "more than max_responses=3"),
    "a control character in a label": (pair(subset="\x1b[31mred"), r'"subset" holds a control character'),
    "a misspelled key": (pair(strenght="better"), 'the key "strenght" is not known: did you mean "strength"?'),
    "another one": (ranked(rank=[1, 2]), 'the key "rank" is not known: did you mean "ranks"?'),
    "Latin-1": (b'{"prompt": "\xe4"}', "not UTF-8 text"),
    "NUL": (b"\0\0\0", "not a JSON record"),
}


@pytest.mark.parametrize("case", LINES)
@pytest.mark.parametrize("load", [load_comparisons, load_demonstrations])
def test_a_bad_line_is_refused_with_its_file_and_line(tmp_path, case, load):
    line, message = LINES[case]
    path = tmp_path / "data.jsonl"
    line = line if isinstance(line, bytes) else line.encode()
    path.write_bytes(GOOD.encode() + b"\n" + line + b"\n" + GOOD.encode() + b"\n")
    limits = SMALL_LIMITS if "max_" in message else Reading()
    with pytest.raises(InputError) as refused:
        load(f"jsonl:{path}", "train", reading=limits)
    assert str(refused.value).startswith(f"{path}:2: ")
    assert message in str(refused.value)


ACCEPTED = {
    "other columns": (pair(prompt_id="7", score_chosen=1.0, response_1="x", source="web", model="x"), 5),
    "a key of another form": (pair(messages=[]), 1),
    "both spellings": (pair(strength="better", strenght="better"), 1),
    "an escape in another key": (pair(**{"\x1b]0;x\x07": 1}), 1),
    "null": (pair(margin=None, strenth=None), 0),
    "a byte order mark": ("\ufeff" + GOOD, 0),
    "a whole pair": (pair(chosen="\U0001f600"), 0),
    "controls in a text": (pair(chosen="\x1b[31m \u202e \x00"), 0),
    "a large rank": (ranked(ranks=[1, 10**30]), 0),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_is_accepted_is_counted(tmp_path, case):
    line, unread = ACCEPTED[case]
    path = tmp_path / "data.jsonl"
    path.write_text(f"{line}\n", encoding="utf-8")
    notes = collections.Counter()
    comparisons = load_comparisons(f"jsonl:{path}", "train", notes=notes)
    assert len(comparisons) == 1
    assert sum(note.endswith("not read") for note in notes) == unread
    shown = audit(comparisons, notes={"train": notes}).to_text()
    assert re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", shown) is None


def test_misspelled_keys_can_be_ignored_and_are_counted(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text(pair(strenght="better") + "\n")
    notes = collections.Counter()
    load_comparisons(f"jsonl:{path}", "train", notes=notes, reading=Reading(extra_keys="ignore"))
    assert notes == {'key "strenght" not read': 1}


def test_keys_that_are_not_read_are_said_once_if_nobody_counts_them(tmp_path, capsys):
    path = tmp_path / "data.jsonl"
    path.write_text((pair(id=7) + "\n") * 3)
    load_prompts(f"jsonl:{path}", "train")
    assert capsys.readouterr().err == f'note: up to {path}:3: key "id" not read in 3 records\n'


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("strenght", "strength"),
        ("Strength", "strength"),
        ("choosen", "chosen"),
        ("rejcted", "rejected"),
        ("prompts", "prompt"),
        ("unsave", "unsafe"),
        ("subsets", "subset"),
        ("prompt_id", None),
        ("response_a", None),
        ("chosen2", None),
        ("chosen", None),
        ("source", None),
        ("rating", None),
        ("question", None),
        ("id", None),
        ("model", None),
        ("category", None),
        ("annotator", None),
    ],
)
def test_only_likely_misspellings_are_refused(key, expected):
    known = {"prompt", "chosen", "rejected", "strength", "margin", "unsafe", "head", "subset"}
    assert misspelled(key, known, {key}) == expected
    assert misspelled(key, known, known) is None  # the record has the known key


# --- files ------------------------------------------------------------------------------------------------------------


def link_to(target):
    return lambda path: path.symlink_to(target)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize("make", [os.mkfifo, link_to("/dev/zero"), link_to("/dev/null")])
def test_fifos_and_devices_are_refused_before_they_are_opened(tmp_path, make, kind):
    path = tmp_path / f"data.{kind}"
    make(path)
    with pytest.raises(InputError, match=re.escape(f"{path}: is a FIFO, a device or a socket")):
        load_comparisons(f"{kind}:{path}", "train")


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b"])
def test_a_name_that_no_file_can_have_is_refused(name):
    with pytest.raises(InputError):
        list(read_jsonl(f"/tmp/{name}"))


def test_standard_input_is_no_file_that_can_keep_us_waiting():
    require_regular("/dev/stdin")
    require_regular("/dev/fd/0")


def test_a_file_has_at_most_max_file_bytes(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text((GOOD + "\n") * 10)
    size = path.stat().st_size
    assert len(list(read_jsonl(path, Reading(max_file_bytes=size)))) == 10
    for read in (read_jsonl, read_lines):
        with pytest.raises(InputError, match=re.escape(f"{path}:10: the file has more than {size - 1} bytes")):
            list(read(path, Reading(max_file_bytes=size - 1)))


@pytest.mark.parametrize("content", [b"\n", b"[", b" " * 1023 + b"\n"], ids=["blank lines", "one line", "spaces"])
def test_a_small_gzip_file_does_not_grow_without_limit(tmp_path, content, monkeypatch):
    monkeypatch.setattr("rmjax.data.reading.SMALL", 2**20)
    path = tmp_path / "data.jsonl.gz"
    path.write_bytes(gzip.compress(content * (2**22 // len(content))))
    with pytest.raises(InputError, match=r"max_file_bytes|max_line_bytes"):
        list(read_jsonl(path, Reading(max_line_bytes=2**21)))


def test_an_ordinary_gzip_file_is_within_the_limit():
    assert Reading().most_bytes(None) == 2**36
    assert Reading().most_bytes(10**3) == SMALL
    assert Reading().most_bytes(10**9) == min(2**36, 100 * 10**9)


def test_parquet_rows_have_the_same_limits(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "data.parquet"
    table = pyarrow.table({"prompt": ["?"] * 50, "chosen": ["a" * 999] * 50, "rejected": ["b"] * 50})
    parquet.write_table(table, path)
    assert len(load_comparisons(f"parquet:{path}", "train")) == 50
    with pytest.raises(InputError, match="max_file_bytes"):
        load_comparisons(f"parquet:{path}", "train", reading=Reading(max_file_bytes=10_000))
    twice = pyarrow.Table.from_arrays([pyarrow.array(["?"])] * 2, names=["prompt", "prompt"])
    parquet.write_table(twice, path)
    with pytest.raises(InputError, match="two columns have the same name"):
        load_comparisons(f"parquet:{path}", "train")
    misnamed = pyarrow.table({"prompt": ["?"], "chosen": ["a"], "rejected": ["b"], "strenght": ["better"]})
    parquet.write_table(misnamed, path)
    with pytest.raises(InputError, match=re.escape(f'{path}, row 1: the key "strenght" is not known')):
        load_comparisons(f"parquet:{path}", "train")


# --- the terminal -----------------------------------------------------------------------------------------------------


def test_an_error_has_no_control_characters(capsys):
    with pytest.raises(SystemExit):
        _fail("a \x1b[31m b \x9b \ud83d \u202e \u2028", 1)
    assert capsys.readouterr().err == "error: a \\x1b[31m b \\x9b \\ud83d \\u202e \\u2028\n"


def test_letters_and_emojis_are_printed_as_they_are():
    text = "für 日本 👩\u200d👩 a\u00a0b\n\tc"
    assert printable(text) == text


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, True, "1"])
def test_numbers_are_finite(value):
    with pytest.raises(InputError, match='"margin" must hold finite numbers'):
        parse_comparison({"prompt": "?", "chosen": "a", "rejected": "b", "margin": value})


@pytest.mark.parametrize(
    ("field", "value"), [("extra_keys", "x"), ("max_line_bytes", 0), ("max_depth", -1), ("max_responses", 0)]
)
def test_a_limit_out_of_range_is_refused(field, value):
    with pytest.raises(InputError, match=field):
        Reading(**{field: value})
