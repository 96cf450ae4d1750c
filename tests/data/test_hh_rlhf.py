"""Loading of HH-RLHF."""

import collections
import gzip
import hashlib
import json
from types import SimpleNamespace

import pytest

from rmjax.data import hh_rlhf
from rmjax.data.comparisons import Message
from rmjax.data.hh_rlhf import builder
from rmjax.data.sources import load_comparisons, load_demonstrations
from rmjax.errors import InputError

NOWHERE = "http://127.0.0.1:9"  # a port that refuses at once


@pytest.fixture(autouse=True)
def _no_network(monkeypatch, tmp_path):
    monkeypatch.setattr(builder, "UPSTREAM", NOWHERE)
    monkeypatch.setattr(hh_rlhf, "CACHE", str(tmp_path / "cache"))


def put(folder, name, *questions):
    """A file in HH-RLHF's form, each question answered with "Yes." (chosen) and "No."."""
    path = folder / f"{name}.jsonl.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        for question in questions:
            start = f"\n\nHuman: {question}\n\nAssistant:"
            file.write(json.dumps({"chosen": start + " Yes.", "rejected": start + " No."}) + "\n")
    return path


def questions(comparisons):
    return [comparison.prompt[0].content for comparison in comparisons]


@pytest.fixture
def manual(tmp_path):
    return tmp_path / "manual"


def test_a_file_becomes_comparisons_in_its_order(manual):
    put(manual, "helpful-base/train", *(f"Is {i} even? ä" for i in range(30)))
    comparisons = hh_rlhf.load("helpful-base", "train", manual_dir=str(manual))

    assert questions(comparisons) == [f"Is {i} even? ä" for i in range(30)]
    assert comparisons[4].prompt == (Message("user", "Is 4 even? ä"),)
    assert comparisons[4].responses == ("Yes.", "No.")
    assert (comparisons[4].head, comparisons[4].subset) == ("helpful", "helpful-base")
    assert comparisons[4].origin == "hh_rlhf/helpful-base/train.jsonl.gz:5"


def test_the_data_are_cached_as_array_records(manual, tmp_path, monkeypatch):
    put(manual, "helpful-base/test", "Is it late?")
    first = hh_rlhf.load("helpful-base", "test", manual_dir=str(manual), data_dir=str(tmp_path / "here"))
    assert len(list((tmp_path / "here").rglob("*test.array_record*"))) == 1

    monkeypatch.setattr(builder, "read_jsonl", None)  # would fail if the file were read again
    assert hh_rlhf.load("helpful-base", "test", manual_dir=str(manual), data_dir=str(tmp_path / "here")) == first


def test_heads_and_subsets_of_a_union_are_those_of_its_members(manual):
    for member in ("helpful-base", "helpful-online", "helpful-rejection-sampled", "harmless-base"):
        put(manual, f"{member}/test", f"Is this {member}?")

    union = hh_rlhf.load("all", "test", manual_dir=str(manual))
    assert [(comparison.subset, comparison.head) for comparison in union] == [
        ("helpful-base", "helpful"),
        ("helpful-online", "helpful"),
        ("helpful-rejection-sampled", "helpful"),
        ("harmless-base", "safety"),
    ]
    assert [c.subset for c in hh_rlhf.load("helpful", "test", manual_dir=str(manual))] == [c.subset for c in union[:3]]


def test_an_absent_split_does_not_block_the_other_and_is_found_when_it_arrives(manual):
    put(manual, "helpful-base/test", "Is it late?")
    assert questions(hh_rlhf.load("helpful-base", "test", manual_dir=str(manual))) == ["Is it late?"]
    with pytest.raises(InputError, match=r"hh_rlhf/helpful-base needs helpful-base/train\.jsonl\.gz in manual_dir"):
        hh_rlhf.load("helpful-base", "train", manual_dir=str(manual))

    put(manual, "helpful-base/train", "Is it early?")
    assert questions(hh_rlhf.load("helpful-base", "train", manual_dir=str(manual))) == ["Is it early?"]


def test_an_absent_member_blocks_its_unions_only(manual):
    put(manual, "helpful-base/test", "Is it late?")
    assert hh_rlhf.load("helpful-base", "test", manual_dir=str(manual))
    with pytest.raises(InputError, match=r"needs helpful-online/test\.jsonl\.gz, helpful-rejection-sampled/test"):
        hh_rlhf.load("helpful", "test", manual_dir=str(manual))


def test_other_files_are_never_served_from_what_was_prepared_before(manual, tmp_path):
    put(manual, "helpful-base/test", "Is it late?")
    put(tmp_path / "other", "helpful-base/test", "Is it cold?")
    assert questions(hh_rlhf.load("helpful-base", "test", manual_dir=str(manual))) == ["Is it late?"]
    assert questions(hh_rlhf.load("helpful-base", "test", manual_dir=str(tmp_path / "other"))) == ["Is it cold?"]

    put(manual, "helpful-base/test", "Is it warm?")
    assert questions(hh_rlhf.load("helpful-base", "test", manual_dir=str(manual))) == ["Is it warm?"]


def test_without_files_or_a_network_both_ways_to_get_the_data_are_named():
    with pytest.raises(InputError) as refusal:
        hh_rlhf.load("harmless-base", "test")
    message = str(refusal.value)
    assert message.startswith("hh_rlhf/harmless-base cannot be downloaded (ConnectionError)")
    assert f"run where the network reaches {NOWHERE}" in message
    assert "manual_dir to a folder that contains harmless-base/train.jsonl.gz, harmless-base/test.jsonl.gz" in message
    assert "\n" not in message


def test_a_download_is_prepared_and_then_needs_no_network(monkeypatch, manual):
    files = {split: put(manual, f"harmless-base/{split}", f"Is it {split}?") for split in ("train", "test")}
    asked = []

    def download(self, urls):
        asked.append(urls)
        return {split: dict.fromkeys(members, files[split]) for split, members in urls.items()}

    with monkeypatch.context() as connected:
        connected.setattr(hh_rlhf, "_require_network", lambda config: None)
        connected.setattr(builder.tfds.download.DownloadManager, "download", download)
        assert questions(hh_rlhf.load("harmless-base", "train")) == ["Is it train?"]
    assert asked == [
        {split: {"harmless-base": f"{NOWHERE}/harmless-base/{split}.jsonl.gz"} for split in ("train", "test")}
    ]
    assert questions(hh_rlhf.load("harmless-base", "test")) == ["Is it test?"]


@pytest.mark.parametrize(
    ("config", "split", "message"),
    [
        ("helpful-basic", "train", "hh_rlhf has no configuration 'helpful-basic': it is one of helpful-base, "),
        ("helpful-base", "validation", r"hh_rlhf has no validation split.*hh_rlhf/helpful-base:train\[90%:\]"),
    ],
)
def test_names_that_do_not_exist(config, split, message):
    with pytest.raises(InputError, match=message):
        hh_rlhf.load(config, split)


def test_files_that_cannot_be_used(manual, tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        hh_rlhf.load("helpful-base", "test", manual_dir=str(manual))

    path = put(manual, "helpful-base/test", "Is it late?")
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with pytest.raises(InputError, match=r"helpful-base/test\.jsonl\.gz:\d+: not a complete gzip file"):
        hh_rlhf.load("helpful-base", "test", manual_dir=str(manual))

    path.write_bytes(gzip.compress(b'{"chosen": "\\n\\nHuman: a\\n\\nAssistant: b"}\n'))
    with pytest.raises(
        InputError, match=r'test\.jsonl\.gz:1: a line of HH-RLHF contains the texts "chosen" and "rejected"'
    ):
        hh_rlhf.load("helpful-base", "test", manual_dir=str(manual))

    path.write_bytes(gzip.compress(b'{"chosen": "\\n\\nHuman: a", "rejected": "\\n\\nHuman: a\\n\\nAssistant: b"}\n'))
    with pytest.raises(InputError, match=r'^hh_rlhf/helpful-base/test\.jsonl\.gz:1: "chosen" ends with a Human turn'):
        hh_rlhf.load("helpful-base", "test", manual_dir=str(manual))

    path.write_bytes(whole)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be prepared in .*file.*set data_dir"):
        hh_rlhf.load("helpful-base", "test", manual_dir=str(manual), data_dir=str(tmp_path / "file"))


def test_a_file_is_noted_as_the_published_one_or_not(manual, monkeypatch):
    for split in ("train", "test"):
        put(manual, f"harmless-base/{split}", "a?", "b?", "c?")
    published = put(manual, "helpful-base/test", "d?").read_bytes()
    digest = hashlib.sha256(published).hexdigest()
    monkeypatch.setitem(
        builder.HhRlhf.url_infos, "url", SimpleNamespace(filename="helpful-base/test.jsonl.gz", checksum=digest)
    )

    def notes(spec, role):
        found = collections.Counter()
        load_comparisons(spec, role, manual_dir=str(manual), notes=found)
        return found

    spec = "hh_rlhf/harmless-base[:2],hh_rlhf/helpful-base"
    assert notes(spec, "test") == {
        "pairs of harmless-base/test.jsonl.gz, not the published file": 3,
        "pairs of helpful-base/test.jsonl.gz, the published file": 1,
    }
    unknown = {"pairs of harmless-base/train.jsonl.gz, whose published checksum is not known": 3}
    assert notes("hh_rlhf/harmless-base[:1],hh_rlhf/harmless-base[1:]", "train") == unknown
    put(manual, "helpful-base/test", "d!")
    assert notes("hh_rlhf/helpful-base", "test") == {"pairs of helpful-base/test.jsonl.gz, not the published file": 1}


def test_source_names_reach_the_data(manual):
    put(manual, "helpful-base/train", *(f"Is {i} even?" for i in range(10)))
    where = {"manual_dir": str(manual)}

    assert questions(load_comparisons("hh_rlhf/helpful-base[:30%]", "train", **where)) == [
        "Is 0 even?",
        "Is 1 even?",
        "Is 2 even?",
    ]
    assert questions(load_comparisons("hh_rlhf/helpful-base:train[90%:]", "validation", **where)) == ["Is 9 even?"]
    assert [d.response for d in load_demonstrations("hh_rlhf/helpful-base[:2]", "train", **where)] == ["Yes.", "Yes."]


def test_the_checksums_are_those_of_the_published_files():
    infos = builder.HhRlhf.url_infos

    assert len(infos) == 7
    for url, info in infos.items():
        assert url.endswith(f"/resolve/main/{info.filename}")
        assert len(info.checksum) == 64
    unknown = {builder.file_name(member, split) for member in builder.MEMBERS["all"] for split in builder.SPLITS}
    assert unknown - {info.filename for info in infos.values()} == {"harmless-base/train.jsonl.gz"}
