"""Counts of data sets, and prompts shared between them."""

import dataclasses
import json

import numpy as np
import pytest

from rmjax.data.audit import Lengths, audit
from rmjax.data.comparisons import Comparison, Message
from rmjax.data.examples import tokenize
from rmjax.data.leaks import check_leaks
from rmjax.errors import InputError


def ask(*turns):
    roles = ("user", "assistant")
    return tuple(Message(roles[i % 2], text) for i, text in enumerate(turns))


def pair(prompt, winner, loser, **about):
    return Comparison(ask(prompt), (winner, loser), (1, 2), **about)


# Three pairs of two, one of three with a tie: 3 + 3 pairs, of which one is tied.
TRAIN = [
    pair("a", "long text", "short", head="helpful", subset="x", strengths=("better",)),
    pair("a", "short", "long text", head="helpful", subset="y", margins=(1.0,)),
    pair("b", "same", "same"),
    Comparison(ask("c"), ("", "two", "three"), (2, 1, 2), head="safety", subset="x"),
]


def test_every_count_of_a_set():
    counts = audit(TRAIN).sets["train"]

    assert (counts.comparisons, counts.prompts, counts.responses) == (4, 3, 9)
    assert (counts.pairs, counts.tied_pairs) == (6, 1)
    assert counts.sizes == {2: 3, 3: 1}
    assert (counts.identical_responses, counts.empty_responses) == (1, 1)
    assert counts.duplicates == 1  # the first two, with their responses in the other order
    assert counts.heads == {"helpful": 2, "(none)": 1, "safety": 1}
    assert counts.subsets == {"x": 2, "y": 1, "(none)": 1}
    assert (counts.strengths, counts.margins) == ({"better": 1}, 1)
    # Longer: "long text" over "short", "two" over "". Shorter: "short", and "two" over "three". "same" is neither.
    assert (counts.longer_won, counts.shorter_won, counts.longer_share) == (2, 2, 0.5)
    assert (counts.labelled_responses, counts.unsafe_responses) == (0, 0)
    assert counts.tokens is None


def test_safety_labels_are_counted_if_there_are_any():
    labelled = [*TRAIN, pair("x", "1", "2", unsafe=(False, False))]
    labelled[3] = dataclasses.replace(TRAIN[3], unsafe=(True, False, True))
    report = audit(labelled, {"test": TRAIN})
    counts = report.sets["train"]
    assert (counts.labelled_responses, counts.unsafe_responses) == (5, 2)
    lines = [line for line in report.to_text().split("\n") if "unsafe" in line]
    assert [" ".join(line.split()) for line in lines] == ["safety 5 of 11 responses labelled, 2 of them unsafe"]
    assert report.to_json()["sets"]["train"]["unsafe_responses"] == 2


def test_without_longer_texts_there_is_no_share():
    assert audit([pair("a", "x", "y")]).sets["train"].longer_share is None


def test_token_lengths_and_what_was_cut():
    lengths = Lengths(
        prompt=np.array([1, 2, 3, 10]),
        prompt_cut=np.array([0, 0, 0, 7]),
        responses=np.array([4, 4, 4, 4, 4, 4, 1, 4, 25]),
        responses_cut=np.array([0, 1, 2, 0, 0, 0, 0, 0, 3]),
        alike=np.array([True, False, False, False]),
    )
    tokens = audit(TRAIN, lengths={"train": lengths}).sets["train"].tokens

    assert tokens.prompt == {"mean": 4.0, "p50": 2.5, "p95": pytest.approx(8.95), "max": 10}
    assert tokens.response == {"mean": 6.0, "p50": 4.0, "p95": pytest.approx(16.6), "max": 25}
    assert (tokens.prompts_truncated, tokens.responses_truncated) == (1, 3)
    assert tokens.tokens_cut == 7 + 1 + 2 + 3
    assert tokens.comparisons_made_alike == 1


def test_lengths_are_taken_from_the_tokenizer(tokenizer):
    head = "one two three four five six seven eight nine ten " * 2  # more than the prompt leaves of 24 + 12 tokens
    comparisons = [pair("Why?", head + "yes", head + "no"), pair("Why? " * 40, "Well.", "Well.")]
    encoded = tokenize([c.prompt for c in comparisons], [c.responses for c in comparisons], tokenizer)
    lengths = Lengths.of(comparisons, encoded)

    assert lengths.prompt[1] + lengths.responses[2:].max() == tokenizer.max_length
    assert lengths.prompt_cut[0] == 0
    assert lengths.prompt_cut[1] > 0
    assert (lengths.prompt[0] + lengths.responses[:2]).tolist() == [tokenizer.max_length] * 2
    assert (lengths.responses_cut[:2] > 0).all()
    assert (lengths.responses_cut[2:] == 0).all()
    assert lengths.alike.tolist() == [True, False]  # the second pair was the same text before


LEAKY = {
    "clean": [pair("d", "x", "y")],
    "test": [pair("a", "x", "y"), pair("a", "y", "x"), pair("c  \n c" * 40, "x", "y"), pair("e", "x", "y")],
}


def test_leaks_are_identical_prompts():
    report = audit([*TRAIN, pair("c  \n c" * 40, "1", "2")], LEAKY)
    (leak,) = report.leaks

    assert [overlap.evaluation for overlap in report.overlaps] == ["clean", "test"]
    assert (leak.evaluation, leak.prompts, leak.comparisons, leak.openings) == ("test", 2, 3, 3)
    assert leak.examples[0] == "a"
    assert len(leak.examples[1]) == 100
    assert leak.examples[1].startswith("c cc c")
    assert leak.examples[1].endswith("...")


def test_only_the_first_leaks_are_quoted():
    train = [pair(str(i), "x", "y") for i in range(9)]
    (leak,) = audit(train, {"test": train}).leaks
    assert (leak.prompts, leak.examples) == (9, ("0", "1", "2"))


def test_dialogues_with_the_same_opening_are_counted_but_are_no_leak():
    dialogue = Comparison(ask("a", "b", "c"), ("x", "y"), (1, 2))
    report = audit(TRAIN, {"test": [dialogue]})
    assert report.overlaps[0].openings == 1
    assert report.leaks == ()


def test_a_leak_is_refused_or_reported():
    report = audit(TRAIN, {"test": [pair("a", "x", "y"), pair("b", "x", "y"), pair("b", "y", "x")]})
    said = "2 prompts of test (3 comparisons) are training prompts too, such as 'a'"

    assert check_leaks(report.leaks, refuse=False).startswith(said)
    with pytest.raises(InputError) as refusal:
        check_leaks(report.leaks, refuse=True)
    assert str(refusal.value).startswith(said)
    assert "data.refuse_leaks=False" in str(refusal.value)


def test_prompts_shared_by_validation_and_test_are_refused_or_reported():
    sets = {
        "validation": [pair("v", "x", "y"), pair("w", "x", "y")],
        "test": [pair("v", "1", "2"), pair("u", "x", "y")],
    }
    report = audit(TRAIN, sets)
    (leak,) = report.leaks
    assert (leak.evaluation, leak.shared_with, leak.prompts, leak.comparisons) == ("test", "validation", 1, 1)
    found = [(overlap["evaluation"], overlap["shared_with"]) for overlap in report.to_json()["overlaps"]]
    assert found == [("validation", "train"), ("test", "train"), ("test", "validation")]
    assert "leaks       test        1 prompts shared with validation (1 comparisons)" in report.to_text()

    said = "1 prompts of test (1 comparisons) are validation prompts too, such as 'v', so temperature, gate and "
    said += "normalization are fitted on what is reported"
    assert check_leaks(report.leaks, refuse=False) == said
    with pytest.raises(InputError) as refusal:
        check_leaks(report.leaks, refuse=True)
    assert str(refusal.value).startswith(said)


def test_without_leaks_there_is_no_warning():
    assert check_leaks(audit(TRAIN, {"clean": LEAKY["clean"]}).leaks, refuse=True) == ""


def test_the_report_as_json():
    report = audit(TRAIN, LEAKY, notes={"train": {'key "id" not read': 4}}).to_json()

    assert json.loads(json.dumps(report)) == report
    assert report["sets"]["train"]["sizes"] == {"2": 3, "3": 1}
    assert report["sets"]["train"]["longer_share"] == 0.5
    assert report["sets"]["train"]["notes"] == {'key "id" not read': 4}
    assert report["overlaps"][1]["prompts"] == 1


def test_the_report_as_text():
    many = [pair(str(i), "x", "y", subset=f"s{i}") for i in range(10)]
    notes = {'key "id" not read': 4, "pairs of a.jsonl.gz, the published file": 1552}
    lines = audit(TRAIN, {"test": many}, notes={"train": notes}).to_text().split("\n")

    assert lines[0] == "train  read       4 comparisons on 3 prompts (K=2: 3, K=3: 1)"
    assert lines[1] == "       pairs      6, of which 1 tied, the longer text won 50.0%"
    assert lines[6] == '       notes      key "id" not read: 4'
    assert lines[7] == "       notes      pairs of a.jsonl.gz, the published file: 1,552"
    assert lines[8].startswith("test   read ")
    assert lines[11].endswith("s7 1 and 2 more")
    assert lines[12].startswith("leaks  test       0 prompts shared with train (0 comparisons)")

    lines = audit(TRAIN, notes={"train": {str(i): i for i in range(10)}}).to_text().split("\n")
    assert [" ".join(line.split()) for line in lines[-2:]] == ["notes 7: 7", "notes and 2 more"]
