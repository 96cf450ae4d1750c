"""Names of sources: slices, mixtures, grammar, readers."""

import collections
import json
import subprocess
import sys
from pathlib import Path

import pytest

from rmjax.data.comparisons import Comparison, Message
from rmjax.data.gold import corpus as gold
from rmjax.data.readers import READERS, Reader, own_records
from rmjax.data.sources import GRAMMAR, load_comparisons, load_demonstrations, parse_sources
from rmjax.errors import InputError

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name, prompts, **extra):
    """A file with one pair per entry of `prompts`; the chosen response is the number of its line."""
    lines = [{"prompt": text, "chosen": f"{name} {i}", "rejected": "-", **extra} for i, text in enumerate(prompts)]
    with open(f"{name}.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def chosen(spec, role="train"):
    return [comparison.responses[0] for comparison in load_comparisons(spec, role)]


# --- slices -----------------------------------------------------------------------------------------------------------

# Ten prompts; the first occurs three times, once far from the others.
TEN = ["a", "b", "a", "c", "d", "e", "f", "g", "h", "i", "j", "a"]


@pytest.mark.parametrize(
    ("cut", "lines"),
    [
        ("", range(12)),
        ("[:]", range(12)),
        ("[:10%]", [0, 2, 11]),
        ("[10%:]", [1, 3, 4, 5, 6, 7, 8, 9, 10]),
        ("[:2]", [0, 1, 2, 11]),
        ("[2:4]", [3, 4]),
        ("[90%:]", [10]),
        ("[:19%]", [0, 2, 11]),
        ("[:12.5%]", [0, 2, 11]),
        ("[80%:9]", [9]),
        ("[8:1000]", [9, 10]),
    ],
)
def test_a_slice_counts_prompts_in_the_order_of_their_first_appearance(cut, lines):
    write("f", TEN)
    assert chosen(f"jsonl:f.jsonl{cut}") == [f"f {line}" for line in lines]


@pytest.mark.parametrize("bound", ["33%", "12.5%", "7"])
def test_two_slices_part_the_data(bound):
    write("f", TEN)
    parts = [set(chosen(f"jsonl:f.jsonl[{cut}]")) for cut in (f":{bound}", f"{bound}:")]
    assert not parts[0] & parts[1]
    assert parts[0] | parts[1] == set(chosen("jsonl:f.jsonl"))


# --- mixtures ---------------------------------------------------------------------------------------------------------


def counts(spec):
    return collections.Counter(text.split()[0] for text in chosen(spec))


def test_without_weights_the_parts_are_concatenated():
    write("f", "ab")
    write("g", "a")
    assert chosen("jsonl:f.jsonl, jsonl:g.jsonl,jsonl:f.jsonl[:1]") == ["f 0", "f 1", "g 0", "f 0"]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        # The 8 of f are 4/5 of 10, so g gives 2 of its 20.
        ("jsonl:f.jsonl@4,jsonl:g.jsonl@1", {"f": 8, "g": 2}),
        # The 8 of f are 1/5 of 40, for which g would need 32 of 20: so g is whole and f gives 20 / 4.
        ("jsonl:f.jsonl@0.2,jsonl:g.jsonl@0.8", {"f": 5, "g": 20}),
        ("jsonl:f.jsonl@2,jsonl:g.jsonl@2", {"f": 8, "g": 8}),
        # 8 * 0.7 / 0.3 = 18.67, rounded down.
        ("jsonl:f.jsonl@0.3,jsonl:g.jsonl@0.7", {"f": 8, "g": 18}),
        # Weights apply after slices.
        ("jsonl:f.jsonl[:25%]@1,jsonl:g.jsonl@3", {"f": 2, "g": 6}),
        ("jsonl:f.jsonl@0.1", {"f": 8}),
    ],
)
def test_weights_are_shares_of_the_largest_mixture_without_repetition(spec, expected):
    write("f", [f"f{i}" for i in range(8)])
    write("g", [f"g{i}" for i in range(20)])
    assert counts(spec) == expected


def test_a_mixture_is_a_random_selection_in_order_and_always_the_same():
    write("f", [str(i) for i in range(5)])
    write("g", [str(i) for i in range(200)])
    lines = [int(text.split()[1]) for text in chosen("jsonl:f.jsonl@1,jsonl:g.jsonl@10")][5:]

    assert len(set(lines)) == 50
    assert lines == sorted(lines)
    assert 60 < sum(lines) / 50 < 140
    assert lines == [int(text.split()[1]) for text in chosen("jsonl:f.jsonl@1,jsonl:g.jsonl@10")][5:]


# --- grammar ----------------------------------------------------------------------------------------------------------


def test_the_parts_of_a_name():
    gold_part, hh, file = parse_sources(
        "gold/both:test@1, hh_rlhf/helpful-base:train[10%:]@2,jsonl:a@b/c:d.jsonl.gz@.5"
    )

    assert (gold_part.kind, gold_part.name, gold_part.split, gold_part.weight) == ("gold", "both", "test", 1)
    assert (hh.kind, hh.name, hh.split, hh.stop, hh.weight) == ("hh_rlhf", "helpful-base", "train", None, 2)
    assert (hh.start.number, hh.start.percent) == (10, True)
    assert (file.kind, file.name, file.split, file.weight) == ("jsonl", "a@b/c:d.jsonl.gz", "", 0.5)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "cannot read the source ''"),
        ("gold/helpful,", "cannot read the source ''"),
        ("helpful", "unknown source 'helpful': a source is NAME"),
        ("data/train.jsonl.gz", "for a file write jsonl:data/train.jsonl.gz"),
        ("gold/kind", "gold is one of gold/helpful, gold/safety, gold/both"),
        ("gold/helpful:dev", "unknown split 'dev'"),
        ("hh_rlhf/", "is incomplete: write hh_rlhf/CONFIG, as in hh_rlhf/helpful-base"),
        ("jsonl:", "is incomplete: write jsonl:FILE, as in jsonl:train.jsonl"),
        ("parquet:", "is incomplete: write parquet:FILE"),
        ("data.parquet", "for a file write parquet:data.parquet"),
        ("data.csv.gz", "for a file write csv:data.csv.gz"),
        ("hf:", "is incomplete: write hf:OWNER/NAME"),
        ("hf/a", "unknown source 'hf/a'"),
        ("hf:a/b:c:d:e", "write hf:OWNER/NAME, hf:OWNER/NAME:SPLIT or hf:OWNER/NAME:CONFIG:SPLIT"),
        ("gold", "gold is one of gold/helpful"),
        ("jsonl/f.jsonl", "unknown source 'jsonl/f.jsonl'"),
        ("jsonl:f.jsonl[10%]", "cannot read the slice [10%]"),
        ("jsonl:f.jsonl[1:2:3]", "cannot read the slice [1:2:3]"),
        ("jsonl:f.jsonl[-5:]", "cannot read the slice [-5:]"),
        ("jsonl:f.jsonl[:101%]", "beyond 100%"),
        ("jsonl:f.jsonl[:1.5]", "cuts a prompt"),
        ("jsonl:f.jsonl[:5", "cannot read the source"),
        ("jsonl:f.jsonl[:5][:3]", "cannot read the source"),
        ("jsonl:f.jsonl@0", "must be a number above 0, found '0'"),
        ("jsonl:f.jsonl@-1", "must be a number above 0"),
        ("jsonl:f.jsonl@nan", "must be a number above 0"),
        ("jsonl:f.jsonl@", "must be a number above 0"),
        ("jsonl:f.jsonl@1,jsonl:g.jsonl", "source 'jsonl:g.jsonl' has no weight but others have"),
        ("jsonl:f.jsonl[12:]", "its slice keeps none of 2 prompts"),
        ("jsonl:f.jsonl[:10%]", "its slice keeps none of 2 prompts"),
        ("jsonl:f.jsonl[1:1]", "its slice keeps none of 2 prompts"),
        ("jsonl:f.jsonl@1,jsonl:f.jsonl@0.1", "contributes no comparison"),
        ("jsonl:g.jsonl", "g.jsonl: no such file"),
    ],
)
def test_a_source_that_is_refused(spec, message):
    write("f", "ab")
    with pytest.raises(InputError) as refusal:
        load_comparisons(spec, "train")
    assert message in str(refusal.value)


def test_an_unknown_role():
    with pytest.raises(InputError, match="unknown role 'eval'"):
        load_comparisons("gold/helpful", "eval")


# --- gold, demonstrations, notes --------------------------------------------------------------------------------------


@pytest.fixture
def tiny_gold(monkeypatch):
    """A corpus whose texts state the requested name and split."""

    def draw(name, split, size=None):
        return [Comparison((Message("user", f"{i}"),), (f"{name} {split} {i}", "-"), (1, 2)) for i in range(3)]

    monkeypatch.setattr(gold, "comparisons", draw)
    monkeypatch.setattr(gold, "demonstrations", lambda name, split, size=None: [(name, split)])


@pytest.mark.parametrize(
    ("spec", "role", "first"),
    [
        ("gold/helpful", "train", "helpful train 0"),
        ("gold/safety", "test", "safety test 0"),
        ("gold/both:validation", "train", "both validation 0"),
        ("gold/both:train[2:]", "test", "both train 2"),
    ],
)
@pytest.mark.usefixtures("tiny_gold")
def test_the_split_is_that_of_the_role_unless_it_is_named(spec, role, first):
    assert chosen(spec, role)[0] == first


def test_the_real_corpus_has_its_own_demonstrations():
    comparisons = load_comparisons("gold/both:validation[:10]", "train")
    demonstrations = load_demonstrations("gold/both:validation[:10]", "train")

    assert len(comparisons) == len(demonstrations) == 10
    assert {comparison.head for comparison in comparisons} == {"helpful", "safety"}
    assert not {comparison.prompt for comparison in comparisons} & {d.prompt for d in demonstrations}


def test_demonstrations_of_files():
    write("f", "aab")
    with open("d.jsonl", "w", encoding="utf-8") as file:
        file.write('{"prompt": "p", "response": "r"}\n')
    texts = [d.response for d in load_demonstrations("jsonl:f.jsonl[:1],jsonl:d.jsonl", "train")]
    assert texts == ["f 0", "f 1", "r"]


def test_notes_count_what_was_not_read():
    write("f", "ab", id=1)
    notes = collections.Counter()
    load_comparisons("jsonl:f.jsonl,jsonl:f.jsonl[:1]", "train", notes=notes)
    assert notes == {'key "id" not read': 4}


def test_a_new_reader_is_a_source_of_comparisons_and_demonstrations(monkeypatch):
    """One entry and one function; slices and mixtures apply to it."""

    def numbers(request):
        assert request.split == "validation"
        texts = [f"{request.name} {i}" for i in range(4)]
        return [Comparison((Message("user", text),), (text, "-"), (1, 2)) for text in texts]

    monkeypatch.setitem(READERS, "numbers", Reader("numbers/NAME", "numbers/small", numbers))
    assert chosen("numbers/a:validation[1:3]") == ["a 1", "a 2"]
    assert [d.response for d in load_demonstrations("numbers/a[3:]", "validation")] == ["a 3"]


@pytest.mark.parametrize("source", ["csv:{}", "jsonl:{}", "{}"])
def test_records_to_score_come_from_every_kind_of_file(tmp_path, source):
    path = tmp_path / ("data.csv" if source.startswith("csv") else "data.jsonl")
    path.write_text("prompt,response\nWhy?,Because.\n" if path.suffix == ".csv" else '{"prompt": "Why?"}\n')
    origin, record = next(own_records(source.format(path)))
    assert (origin, record["prompt"]) == (f"{path}:{2 if path.suffix == '.csv' else 1}", "Why?")


def test_a_home_directory_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "data.jsonl").write_text('{"prompt": "Why?", "chosen": "a", "rejected": "b"}\n')
    assert len(load_comparisons("jsonl:~/data.jsonl", "train")) == 1


def test_the_grammar_lists_every_reader():
    own = ("csv:FILE", "jsonl:FILE", "parquet:FILE", "hf:OWNER/NAME")
    for form in ("gold/helpful", "gold/text", "hh_rlhf/CONFIG", *own):
        assert form in GRAMMAR


def test_the_sources_are_there_without_tensorflow_datasets():
    code = "import sys, rmjax.data.sources; sys.exit('tensorflow_datasets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0
