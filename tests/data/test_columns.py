"""Names of columns that are read as known keys (`columns`)."""

import collections
import json

import pytest

from rmjax.data import records
from rmjax.data.reading import KEYS, Reading
from rmjax.data.sources import load_comparisons, load_demonstrations
from rmjax.errors import InputError
from rmjax.stages.datasets import fingerprint

COLUMNS = Reading(columns="prompt=question,chosen=better,rejected=worse")


def write(path, record):
    path.write_text(json.dumps(record) + "\n")
    return f"jsonl:{path}"


def test_the_keys_are_those_that_records_read():
    assert set(KEYS) == set().union(*records._KEYS.values())


def test_renamed_columns_give_the_same_data(tmp_path):
    same = {"prompt": "Is ice cold?", "chosen": "Yes.", "rejected": "No.", "strength": "better"}
    other = {"question": "Is ice cold?", "better": "Yes.", "worse": "No.", "strength": "better"}
    notes = collections.Counter()
    found = load_comparisons(write(tmp_path / "a.jsonl", other), "train", notes=notes, reading=COLUMNS)
    assert fingerprint(found) == fingerprint(load_comparisons(write(tmp_path / "b.jsonl", same), "train"))
    assert not notes


def test_they_may_exchange_two_keys(tmp_path):
    reading = Reading(columns="chosen=rejected,rejected=chosen")
    record = {"prompt": "Is ice cold?", "chosen": "No.", "rejected": "Yes."}
    (found,) = load_comparisons(write(tmp_path / "a.jsonl", record), "train", reading=reading)
    assert found.responses == ("Yes.", "No.")
    assert found.ranks == (1, 2)


def test_demonstrations_are_read_from_columns_too(tmp_path):
    reading = Reading(columns="prompt=question,response=answer")
    record = {"question": "Is ice cold?", "answer": "Yes."}
    (found,) = load_demonstrations(write(tmp_path / "a.jsonl", record), "train", reading=reading)
    assert (found.prompt[0].content, found.response) == ("Is ice cold?", "Yes.")


def test_a_column_whose_name_is_taken_is_counted(tmp_path):
    notes = collections.Counter()
    record = {"prompt": "id 7", "question": "Is ice cold?", "better": "Yes.", "worse": "No."}
    load_comparisons(write(tmp_path / "a.jsonl", record), "train", notes=notes, reading=COLUMNS)
    assert notes == {'key "prompt (column)" not read': 1}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"question": "a", "better": "b"}, 'a.jsonl:1: there is no column "worse", which columns reads as "rejected"'),
        ([{"text": "a", "role": "prompter"}], "found an array"),
    ],
)
def test_a_record_without_the_column_is_refused(tmp_path, record, message):
    with pytest.raises(InputError, match=message):
        load_comparisons(write(tmp_path / "a.jsonl", record), "train", reading=COLUMNS)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("prompt", "is written as in prompt=question"),
        ("prompt=", "is written as in"),
        ("question=prompt", "names the key 'question': known are prompt, chosen"),
        ("prompt=a,chosen=a", "names a key or a column twice"),
        ("prompt=a,prompt=b", "names a key or a column twice"),
    ],
)
def test_columns_that_cannot_be_read_are_refused(columns, message):
    with pytest.raises(InputError, match=message):
        Reading(columns=columns)


def test_text_columns_of_a_csv_file_stay_text(tmp_path):
    (tmp_path / "a.csv").write_text("question,better,worse,strength\n40 + 2?,42,[1],better\n")
    (found,) = load_comparisons(f"csv:{tmp_path}/a.csv", "train", reading=COLUMNS)
    assert (found.prompt[0].content, found.responses, found.strengths) == ("40 + 2?", ("42", "[1]"), ("better",))
