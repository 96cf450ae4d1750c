"""Checks of a run's data: every error names the setting or the data to change."""

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import user

from rmjax.data.comparisons import Comparison, Demonstration, ranks_from_scores
from rmjax.data.examples import PairRule, encode_comparisons
from rmjax.errors import InputError
from rmjax.stages.checks import check_labels, check_sources, check_splits
from rmjax.stages.datasets import ComparisonSplits, check_demonstrations
from rmjax.training.objectives import LossConfig

HEADS = ("helpful", "safety")
SETS = {"train": "training", "validation": "validation", "test": "evaluation"}
RANKING = LossConfig()
RATING = LossConfig(name="squared_error")


def comparison(head=None, ranks=(1, 2), text="q", **fields):
    return Comparison(user(text), tuple(f"a{k}" for k in range(len(ranks))), ranks, head=head, **fields)


def judgements(**sets):
    """Both heads in every set, but for the sets that are given."""
    whole = [comparison("helpful"), comparison("safety")]
    return ComparisonSplits(**{**dict.fromkeys(SETS, whole), **sets}, notes={})


# --- sources ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "evaluation"),
    [
        ("jsonl:mine.jsonl", "gold/helpful"),
        ("jsonl:a.jsonl[:90%],hh_rlhf/helpful-base", "gold/both"),
        ("hh_rlhf/helpful-base", "gold/helpful,gold/safety"),
        ("gold/helpful[:400]", "hh_rlhf/helpful"),
    ],
)
def test_an_evaluation_source_left_as_it_was_is_refused(train, evaluation):
    with pytest.raises(InputError) as refusal:
        check_sources(SimpleNamespace(train=train, eval=evaluation))
    message = str(refusal.value)
    assert f"data.train={train}" in message
    assert f"data.eval={evaluation}" in message
    for way_out in ("jsonl:TEST.jsonl", "[:90%]", "[90%:]", "hh_rlhf/helpful", f"{evaluation.split(',')[0]}:test"):
        assert way_out in message


@pytest.mark.parametrize(
    ("train", "evaluation"),
    [
        ("gold/helpful[:90%],gold/safety[:36%]", "gold/both"),
        ("gold/safety", "gold/helpful"),
        ("gold/helpful@0.5,jsonl:mine.jsonl@0.5", "gold/helpful"),
        ("jsonl:mine.jsonl[:90%]", "jsonl:mine.jsonl[90%:]"),
        ("jsonl:mine.jsonl", "holdout"),
        ("jsonl:mine.jsonl", "hf:owner/name"),
        ("gold/helpful", "jsonl:mine.jsonl"),
        ("gold/helpful", "parquet:mine.parquet"),
        ("jsonl:mine.jsonl", "hh_rlhf/helpful"),
        ("jsonl:mine.jsonl", "gold/helpful:test"),
        ("jsonl:mine.jsonl", "gold/helpful[:200]"),
        ("hh_rlhf/helpful", "gold/helpful,jsonl:mine.jsonl"),
    ],
)
def test_an_evaluation_source_that_somebody_chose_passes(train, evaluation):
    check_sources(SimpleNamespace(train=train, eval=evaluation))


# --- judgements -------------------------------------------------------------------------------------------------------


def test_data_for_every_head_pass():
    check_splits(judgements(), HEADS)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("head", HEADS)
def test_a_head_without_data_is_named_with_the_set(name, head):
    other = [comparison(label) for label in HEADS if label != head]
    with pytest.raises(InputError, match=f"the {SETS[name]} data hold no .* for the head '{head}'"):
        check_splits(judgements(**{name: other}), HEADS)


@pytest.mark.parametrize("name", SETS)
def test_identical_responses_alone_prefer_nothing(name):
    same = dataclasses.replace(comparison("safety"), responses=("a", "a"))
    with pytest.raises(InputError, match=f"the {SETS[name]} data hold no comparison with a preference .* 'safety'"):
        check_splits(judgements(**{name: [comparison("helpful"), same, same]}), HEADS)


@pytest.mark.parametrize("name", SETS)
def test_ties_alone_prefer_nothing(name):
    tied = [comparison("helpful"), comparison("safety", (1, 1)), comparison("safety", (2, 2, 2))]
    with pytest.raises(InputError, match=f"the {SETS[name]} data hold no comparison with a preference .* 'safety'"):
        check_splits(judgements(**{name: tied}), HEADS)


def test_one_preference_among_ties_is_enough():
    check_splits(judgements(test=[comparison("helpful"), comparison("safety", (1, 1, 2))]), HEADS)


@pytest.mark.parametrize("name", SETS)
def test_an_empty_set_is_refused(name):
    with pytest.raises(InputError, match=f"the {SETS[name]} data hold no"):
        check_splits(judgements(**{name: []}), ("helpful",))


@pytest.mark.parametrize("name", SETS)
def test_a_record_without_a_known_head_is_named_where_there_are_several(name):
    for head, message in ((None, "names no head"), ("honest", "is for the head 'honest'")):
        mixed = [*judgements().train, comparison(head, origin="f.jsonl:3")]
        with pytest.raises(InputError, match=f"f.jsonl:3: this comparison {message}"):
            check_splits(judgements(**{name: mixed}), HEADS)


def test_a_single_head_takes_records_of_any_label():
    check_splits(judgements(train=[comparison()], test=[comparison("honest")]), ("helpful",))


# --- what a loss needs ------------------------------------------------------------------------------------------------


def test_squared_error_needs_ratings_everywhere():
    rated = comparison(scores=(4.0, 2.0))
    check_labels([rated], RATING)
    with pytest.raises(InputError, match=r'f.jsonl:7: loss.name=squared_error needs "scores"'):
        check_labels([rated, comparison(origin="f.jsonl:7")], RATING)


def test_a_ranking_loss_needs_no_ratings():
    check_labels([comparison()], RANKING)


def test_the_safety_classification_needs_a_label_somewhere():
    classifying = dataclasses.replace(RANKING, safety_coef=0.1)
    check_labels([comparison(), comparison(unsafe=(False, True))], classifying)
    check_labels([comparison()], RANKING)
    with pytest.raises(InputError, match=r'loss.safety_coef=0.1 needs "unsafe" .* or set loss.safety_coef=0'):
        check_labels([comparison()], classifying)


# --- demonstrations ---------------------------------------------------------------------------------------------------

LEARNED = [Demonstration(user(text), "fine") for text in ("q", "other")]


@pytest.mark.parametrize("name", ["validation", "test"])
def test_demonstrations_of_evaluated_prompts_are_warned_of_or_refused(name, capsys):
    mine = judgements(**{"validation": [], "test": [], name: [comparison(), comparison(), comparison(text="new")]})
    check_demonstrations(LEARNED, mine, refuse_leaks=False)
    assert f"warning: 1 prompts of the {name} set are among the demonstrations" in capsys.readouterr().err
    with pytest.raises(InputError, match=f"1 prompts of the {name} set .* change data.sft"):
        check_demonstrations(LEARNED, mine, refuse_leaks=True)


def test_demonstrations_of_the_training_prompts_are_as_they_should_be(capsys):
    held_out = judgements(validation=[], test=[comparison(text="new")])
    check_demonstrations(LEARNED, held_out, refuse_leaks=True)
    assert capsys.readouterr().err == ""


# --- ratings ----------------------------------------------------------------------------------------------------------


def rated(tokenizer, *groups):
    """Examples of (head, rating, rating, ...)."""
    comparisons = [
        comparison(HEADS[head], ranks_from_scores(tuple(ratings)), scores=tuple(ratings)) for head, *ratings in groups
    ]
    return encode_comparisons(comparisons, tokenizer, HEADS, PairRule(keep_ties=True, margins=None, given=False))


def test_ratings_get_mean_0_and_deviation_1_in_every_head(tokenizer):
    examples = rated(tokenizer, (0, 1, 2), (1, 800, 950, 700), (0, 5, 4, 3), (1, 720, 710))
    result = examples.standardized()
    for head in (0, 1):
        before, after = (np.concatenate([e.ratings for e in es if e.head == head]) for es in (examples, result))
        assert after.mean() == pytest.approx(0, abs=1e-5)
        assert after.std() == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose(np.corrcoef(before, after)[0, 1], 1, rtol=1e-6)


def test_standardizing_changes_ratings_alone(tokenizer):
    examples = rated(tokenizer, (0, 1, 2), (1, 8, 9, 7), (0, 5, 4, 3))
    for old, new in zip(examples, examples.standardized(), strict=True):
        assert new.ratings.dtype == np.float32
        assert new.ratings.shape == old.ratings.shape
        assert (new.head, new.prompt.tolist()) == (old.head, old.prompt.tolist())
        assert len(new.responses) == len(old.responses)
        np.testing.assert_array_equal(new.weight, old.weight)
    assert examples[0].ratings.tolist() == [1, 2]


def test_equal_ratings_become_zero(tokenizer):
    (example,) = rated(tokenizer, (0, 3, 3)).standardized()
    assert example.ratings.tolist() == [0, 0]
    assert not any(map(math.isnan, example.ratings))
