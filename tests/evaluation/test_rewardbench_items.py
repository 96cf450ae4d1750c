"""Reading of RewardBench files: items, published counts, sources, and refused records."""

import gzip
import json
import sys

import huggingface_hub
import pytest

from rmjax.data.comparisons import Message
from rmjax.errors import InputError
from rmjax.evaluation.benchmarks.rewardbench_items import (
    DOMAINS,
    SECTIONS,
    SUBSETS,
    Item,
    read_rewardbench,
    read_rewardbench2,
)

PAIR = {
    "prompt": "\n\nHuman: is not a marker here",
    "chosen": "Yes.",
    "chosen_model": "human",
    "rejected": "",
    "rejected_model": "gpt",
    "subset": "hep-go",
    "id": 17,
}
BEST_OF = {
    "id": "40",
    "prompt": "2 + 2?",
    "chosen": ["4"],
    "rejected": ["5", "3", "22"],
    "num_correct": 1,
    "num_incorrect": 3,
    "total_completions": 4,
    "models": ["a", "b", "c", "d"],
    "subset": "Math",
    "additional_metadata": None,
}
TIED = {
    "id": "tied:3",
    "prompt": "A colour?",
    "chosen": ["red", "blue"],
    "rejected": ["seven"],
    "num_correct": 2,
    "num_incorrect": 1,
    "total_completions": 3,
    "subset": "ties",
}


def write(path, *records):
    opened = gzip.open if path.name.endswith(".gz") else open
    with opened(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)
    return str(path)


def test_the_counts_equal_those_of_the_papers():
    """RewardBench (2403.13787), table 1, and the card of RewardBench 2."""
    sizes = {section: sum(subsets.values()) for section, subsets in SECTIONS.items()}
    assert sizes == {"Chat": 358, "Chat Hard": 456, "Safety": 740, "Reasoning": 1431}
    assert len(SUBSETS) == 23
    assert sum(DOMAINS.values()) == 1865


@pytest.mark.parametrize("name", ["bench.jsonl", "bench.jsonl.gz"])
def test_a_pair(tmp_path, name):
    path = write(tmp_path / name, PAIR, {**PAIR, "id": None, "subset": "donotanswer"})
    first, second = read_rewardbench(path)
    prompt = (Message("user", "\n\nHuman: is not a marker here"),)
    assert first == Item(prompt, ("Yes.",), ("",), "hep-go", "17", f"{path}:1")
    assert first.responses == ("Yes.", "")
    assert (second.subset, second.id, second.origin) == ("donotanswer", None, f"{path}:2")


def test_several_responses(tmp_path):
    path = write(tmp_path / "bench.jsonl", BEST_OF, TIED)
    math, ties = read_rewardbench2(path)
    assert (math.subset, math.id, math.responses) == ("Math", "40", ("4", "5", "3", "22"))
    assert (ties.subset, ties.id, ties.responses) == ("Ties", "tied:3", ("red", "blue", "seven"))
    assert (ties.chosen, ties.rejected) == (("red", "blue"), ("seven",))


def test_parquet_and_json_give_the_same_items(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    for read, records in ((read_rewardbench, [PAIR, PAIR]), (read_rewardbench2, [BEST_OF, TIED])):
        path = tmp_path / "bench.parquet"
        parquet.write_table(pyarrow.Table.from_pylist(records), path)
        items, expected = read(str(path)), read(write(tmp_path / "bench.jsonl", *records))
        assert [item.origin for item in items] == [f"{path}, row 1", f"{path}, row 2"]
        assert [vars(item) | {"origin": ""} for item in items] == [vars(item) | {"origin": ""} for item in expected]

    parquet.write_table(pyarrow.Table.from_pylist([PAIR, {**PAIR, "subset": "chat"}]), path)
    with pytest.raises(InputError, match=r"bench.parquet, row 2: unknown subset 'chat'"):
        read_rewardbench(str(path))
    parquet.write_table(pyarrow.Table.from_pylist([PAIR])[:0], path)
    with pytest.raises(InputError, match=r"bench.parquet: has no records"):
        read_rewardbench(str(path))
    path.write_text("not parquet")
    with pytest.raises(InputError, match=r"bench.parquet: not a parquet file"):
        read_rewardbench(str(path))
    with pytest.raises(InputError, match=r"absent.parquet: no such file"):
        read_rewardbench(str(tmp_path / "absent.parquet"))


def test_without_pyarrow_the_error_names_both_solutions(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"`pip install pyarrow`, or give the records as a \.jsonl file"):
        read_rewardbench(str(tmp_path / "bench.parquet"))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ([PAIR], "must be a JSON object, found a list"),
        ({**PAIR, "rejected": None}, '"rejected" is missing or null'),
        ({key: value for key, value in PAIR.items() if key != "prompt"}, '"prompt" is missing or null'),
        ({**PAIR, "chosen": ["4"]}, '"chosen" must be text, found a list'),
        ({**PAIR, "subset": "hep"}, "unknown subset 'hep': it is none of the 23 of RewardBench"),
        ({**PAIR, "id": 1.5}, '"id" must hold whole numbers'),
    ],
)
def test_a_pair_that_is_refused(tmp_path, record, message):
    path = write(tmp_path / "bench.jsonl", PAIR, record)
    with pytest.raises(InputError) as refusal:
        read_rewardbench(path)
    assert str(refusal.value).startswith(f"{path}:2: ")
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"chosen": "4"}, '"chosen" must be a list, found text'),
        ({"rejected": ["5", 3, "22"]}, '"rejected" must be text, found the number 3'),
        ({"num_correct": 2}, '"num_correct" is 2, but the lists "chosen" and "rejected" make it 1'),
        ({"num_incorrect": 4}, '"num_incorrect" is 4, but'),
        ({"total_completions": 5}, '"total_completions" is 5, but'),
        ({"chosen": [], "num_correct": 0, "total_completions": 3}, "at least one response"),
        ({"rejected": ["5"], "num_incorrect": 1, "total_completions": 2}, "Math has one chosen and 3 rejected"),
        ({"subset": "Chat"}, "unknown subset 'Chat': RewardBench 2 has Factuality, Precise IF, Math"),
        ({"subset": "Ties"}, "is ref:N or tied:N, which says what it is, found '40'"),
        ({"subset": "Ties", "id": None}, "is ref:N or tied:N, which says what it is, found None"),
        ({"subset": "Ties", "id": "tied:40"}, "tied:40 is a tied prompt"),
        ({"subset": "Ties", "id": "ref:1"}, "the id ref:1 is already used at"),
    ],
)
def test_several_responses_that_are_refused(tmp_path, changes, message):
    path = write(tmp_path / "bench.jsonl", {**BEST_OF, "subset": "Ties", "id": "ref:1"}, {**BEST_OF, **changes})
    with pytest.raises(InputError) as refusal:
        read_rewardbench2(path)
    assert str(refusal.value).startswith(f"{path}:2: ")
    assert message in str(refusal.value)


def test_a_source_that_is_neither_file_nor_id():
    with pytest.raises(InputError, match=r"bench.csv is neither a .* nor the hub id allenai/reward-bench-2"):
        read_rewardbench2("bench.csv")
    with pytest.raises(InputError, match=r"absent.jsonl: no such file"):
        read_rewardbench2("absent.jsonl")
    with pytest.raises(
        InputError, match=r"allenai/reward-bench-2 is the other benchmark: this one is allenai/reward-b"
    ):
        read_rewardbench("allenai/reward-bench-2")


# --- the hub ----------------------------------------------------------------------------------------------------------


def test_only_the_split_of_the_published_scores_is_downloaded(monkeypatch, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "data").mkdir()
    for name, subset in (("raw-0", "chat"), ("filtered-0", "hep-go"), ("filtered-1", "hep-cpp")):
        table = pyarrow.Table.from_pylist([{**PAIR, "subset": subset}])
        parquet.write_table(table, tmp_path / "data" / f"{name}.parquet")
    asked = {}

    def fetch(name, *, repo_type, allow_patterns):
        asked.update(name=name, repo_type=repo_type, patterns=allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    assert [item.subset for item in read_rewardbench("allenai/reward-bench")] == ["hep-go", "hep-cpp"]
    assert (asked["name"], asked["repo_type"]) == ("allenai/reward-bench", "dataset")
    files = ["README.md", "data/filtered-00000-of-00001.parquet", "data/raw-00000-of-00001.parquet", "load.py"]
    kept = list(huggingface_hub.utils.filter_repo_objects(files, allow_patterns=asked["patterns"]))
    assert kept == ["data/filtered-00000-of-00001.parquet"]
    with pytest.raises(InputError, match=r"has no files data/test-\*\.parquet"):
        read_rewardbench2("allenai/reward-bench-2")


def test_offline_the_error_names_both_solutions_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError) as refusal:
        read_rewardbench2("allenai/reward-bench-2")
    message = str(refusal.value)
    assert "run `hf download --repo-type dataset allenai/reward-bench-2` on a machine with a network" in message
    assert "or name a local .jsonl" in message
    assert "\n" not in message
