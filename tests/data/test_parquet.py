"""Parquet files as a source of comparisons and demonstrations."""

import collections
import dataclasses
import json
import sys

import pytest

from rmjax.data.parquet import parquet_records
from rmjax.data.sources import load_comparisons, load_demonstrations
from rmjax.errors import InputError

RECORDS = [
    {"prompt": "?", "chosen": "a", "rejected": "b", "margin": 0.5, "subset": "x"},
    {"prompt": [{"role": "user", "content": "!"}], "responses": ["c", "d", "e"], "ranks": [2, 1, 3], "id": 7},
    {"prompt": "?", "responses": ["f", "g"], "scores": [1.5, 2.0], "unsafe": [True, False]},
]


@pytest.fixture
def write(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")

    def write(records, **settings):
        path = tmp_path / "data.parquet"
        parquet.write_table(pyarrow.Table.from_pylist(records), path, **settings)
        return path

    return write


def without_origin(items):
    return [dataclasses.replace(item, origin="") for item in items]


@pytest.mark.parametrize("record", RECORDS, ids=["pair", "ranks", "scores"])
def test_parquet_gives_the_same_as_json_lines(write, tmp_path, record):
    path = write([record, record])
    (tmp_path / "data.jsonl").write_text(json.dumps(record) + "\n" + json.dumps(record))
    for load in (load_comparisons, load_demonstrations):
        notes, expected_notes = collections.Counter(), collections.Counter()
        found = load(f"parquet:{path}[:1]", "train", notes=notes)
        expected = load(f"jsonl:{tmp_path}/data.jsonl", "train", notes=expected_notes)
        assert [item.origin for item in found] == [f"{path}, row 1", f"{path}, row 2"]
        assert without_origin(found) == without_origin(expected)
        assert notes == expected_notes


def test_records_of_several_forms_share_a_file(write):
    """A column that a record does not use is null there."""
    pairs = [
        {"prompt": str(i), "chosen": f"{i} a", "rejected": "-", "responses": None, "scores": None} for i in range(3)
    ]
    ranked = {"prompt": "3", "chosen": None, "rejected": None, "responses": ["-", "3 a"], "scores": [0.0, 1.0]}
    path = write([*pairs, ranked])
    assert [d.response for d in load_demonstrations(f"parquet:{path}", "train")] == ["0 a", "1 a", "2 a", "3 a"]


def test_rows_are_counted_over_all_row_groups(write):
    path = write([{"prompt": str(i), "chosen": "a", "rejected": "b"} for i in range(7)], row_group_size=3)
    assert [(origin, record["prompt"]) for origin, record in parquet_records(path)] == [
        (f"{path}, row {i + 1}", str(i)) for i in range(7)
    ]


def test_files_that_are_refused(write, tmp_path):
    path = write([RECORDS[0], {**RECORDS[0], "chosen": None}])
    with pytest.raises(InputError, match=r'data.parquet, row 2: "chosen" is missing or null'):
        load_comparisons(f"parquet:{path}", "train")
    (tmp_path / "text.parquet").write_text("not parquet")
    (tmp_path / "folder.parquet").mkdir()
    (tmp_path / "cut.parquet").write_bytes(path.read_bytes()[:-20])
    for name, message in [
        ("text", "not a parquet file that can be read"),
        ("cut", "not a parquet file that can be read"),
        ("folder", "not a parquet file that can be read"),
        ("absent", "no such file"),
    ]:
        with pytest.raises(InputError, match=rf"{name}.parquet: {message}"):
            list(parquet_records(tmp_path / f"{name}.parquet"))


def test_a_file_without_rows_is_refused(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"prompt": pyarrow.array([], pyarrow.string())}), tmp_path / "none.parquet")
    with pytest.raises(InputError, match=r"none.parquet: has no records"):
        list(parquet_records(tmp_path / "none.parquet"))


def test_without_pyarrow_the_error_names_both_ways_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"`pip install pyarrow`, or give the records as a .jsonl file"):
        load_comparisons("parquet:data.parquet", "train")
