"""Datasets of the hub, as folders on this disk, which the package `datasets` reads in the same way."""

import json
import sys

import pytest

from rmjax.data.hub_dataset import hub_records
from rmjax.data.sources import load_comparisons, load_demonstrations, load_prompts
from rmjax.errors import InputError

CARD = """---
configs:
- config_name: plain
  default: true
  data_files:
  - {split: train, path: train.jsonl}
  - {split: test_prefs, path: test.jsonl}
- config_name: other
  data_files:
  - {split: train, path: other.jsonl}
---
"""


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    """The name of a dataset with two configurations; every record states its file."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "owner" / "name"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text(CARD)
    for name in ("train", "test", "other"):
        lines = [json.dumps({"prompt": f"{name} {i}", "chosen": "a", "rejected": "b"}) for i in range(3)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return "hf:owner/name"


def prompts(spec, role="train"):
    return [comparison.prompt[0].content for comparison in load_comparisons(spec, role)]


@pytest.mark.parametrize(
    ("suffix", "role", "first"),
    [
        ("", "train", "train 0"),
        (":train", "test", "train 0"),
        (":test_prefs", "train", "test 0"),
        (":other", "train", "other 0"),
        (":plain:test_prefs", "train", "test 0"),
        (":other:train[1:2]@1", "test", "other 1"),
    ],
)
def test_configuration_and_split(dataset, suffix, role, first):
    assert prompts(dataset + suffix, role)[0] == first


def test_demonstrations_prompts_and_origins(dataset):
    assert [d.response for d in load_demonstrations(f"{dataset}[:2]", "train")] == ["a", "a"]
    assert load_prompts(dataset, "train")[0].prompt[0].content == "train 0"
    assert load_comparisons(dataset, "train")[1].origin == f"{dataset}, row 2"


@pytest.mark.parametrize(
    ("suffix", "message"),
    [
        (":test", r'hf:owner/name:test cannot be loaded \(Unknown split "test". Should be one of .*train.*test_prefs'),
        (":none:train", "hf:owner/name:none:train cannot be loaded .BuilderConfig 'none' not found"),
        ("-absent:train", "hf:owner/name-absent:train cannot be loaded .*: check the name"),
        (":", "cannot read hf:owner/name:: write hf:OWNER/NAME"),
    ],
)
def test_a_dataset_that_is_refused(dataset, monkeypatch, suffix, message):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=message):
        load_comparisons(dataset + suffix, "train")


def test_without_the_package_the_error_names_both_ways_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match="`pip install datasets`, or download its files and name them with jsonl:"):
        list(hub_records("owner/name", "train"))
