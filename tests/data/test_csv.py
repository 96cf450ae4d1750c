"""CSV files as a source of comparisons and demonstrations."""

import collections
import dataclasses
import gzip
import json

import pytest

from rmjax.data.csv_file import csv_records
from rmjax.data.sources import load_comparisons, load_demonstrations
from rmjax.errors import InputError

RECORDS = [
    {"prompt": 'Two\nlines, and "quotes"', "chosen": "a, b", "rejected": "", "margin": 0.5, "subset": "2024"},
    {"prompt": "?", "responses": ["c", "d\n", "e"], "ranks": [2, 1, 3], "id": 7},
    {"prompt": "?", "responses": ["f", "g"], "scores": [1.5, 2.0], "unsafe": [True, False]},
    {"prompt": "?", "chosen": "3", "rejected": "null", "strength": "better", "head": "helpful"},
]


def as_csv(records):
    """RFC 4180, by hand: every cell in quotes."""
    keys = list(records[0])
    cells = [[v if isinstance(v, str) else json.dumps(v) for v in record.values()] for record in records]
    return "\r\n".join(",".join(f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in row) for row in [keys, *cells])


def without_origin(items):
    return [dataclasses.replace(item, origin="") for item in items]


@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
@pytest.mark.parametrize("record", RECORDS, ids=["pair", "ranks", "scores", "texts that look like JSON"])
def test_csv_gives_the_same_as_json_lines(tmp_path, record, ending):
    path, text = tmp_path / f"data.{ending}", as_csv([record, record])
    path.write_bytes(gzip.compress(text.encode()) if ending.endswith("gz") else b"\xef\xbb\xbf" + text.encode())
    (tmp_path / "data.jsonl").write_text(json.dumps(record) + "\n" + json.dumps(record))
    for load in (load_comparisons, load_demonstrations):
        notes, expected_notes = collections.Counter(), collections.Counter()
        found = load(f"csv:{path}", "train", notes=notes)
        assert without_origin(found) == without_origin(
            load(f"jsonl:{tmp_path}/data.jsonl", "train", notes=expected_notes)
        )
        assert notes == expected_notes


def test_pandas_writes_what_is_read(tmp_path):
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "data.csv"
    pandas.DataFrame([RECORDS[0], {**RECORDS[0], "chosen": "x" * 200_000}]).to_csv(path, index=False)
    assert [len(c.responses[0]) for c in load_comparisons(f"csv:{path}", "train")] == [4, 200_000]


def test_an_empty_cell_is_an_empty_text_or_absent(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("prompt,chosen,rejected,margin,subset\n?,,b,,\n\n?,a,b,1,x\n")
    first, second = load_comparisons(f"csv:{path}", "train")
    assert (first.responses, first.margins, first.subset, first.origin) == (("", "b"), None, None, f"{path}:2")
    assert (second.margins, second.subset, second.origin) == ((1.0,), "x", f"{path}:4")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "its first line must name every column"),
        (b"prompt,prompt\na,b\n", "its first line must name every column, each once"),
        (b"prompt,chosen\n", "has no rows below its header"),
        (
            b"prompt,chosen,rejected\na,b,c\nd,e\n",
            "data.csv:3: 2 cells, but the header names 3: cells are separated by commas",
        ),
        (b'prompt,chosen,rejected\na,"b,c\n', "data.csv:2: not a CSV file in UTF-8"),
        (b"prompt,chosen,rejected\na,b,\xff\n", "data.csv:1: not a CSV file in UTF-8"),
        (b"prompt,chosen\na,b\n", 'data.csv:2: a pair needs both "chosen" and "rejected"|"rejected" is missing'),
        (None, "data.csv: no such file"),
    ],
)
def test_files_that_are_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "data.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        list(load_comparisons(f"csv:{tmp_path}/data.csv", "train"))


def test_records_are_read_one_by_one(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("prompt,chosen,rejected\na,b,c\nd,e\n")
    assert next(csv_records(path)) == (f"{path}:2", {"prompt": "a", "chosen": "b", "rejected": "c"})
