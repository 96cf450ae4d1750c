"""Breakdowns against hand counts, and against the total over all pairs."""

import itertools

import numpy as np
import pytest

from rmjax.data.comparisons import Comparison, Message
from rmjax.evaluation import metrics
from rmjax.evaluation.bootstrap import Bootstrap, bootstrap_interval
from rmjax.evaluation.breakdowns import TURNS, breakdowns, length_bins, turns
from rmjax.evaluation.pairs import pair_arrays

RESAMPLING = Bootstrap(resamples=10, seed=0)


def conversation(count, system=False, prefix="q"):
    """A prompt with `count` user turns."""
    messages = [Message("system", "Be brief.")] if system else []
    for turn in range(count):
        messages += [Message("user", f"{prefix}{turn}"), Message("assistant", "yes")]
    return tuple(messages[:-1])


def test_only_user_turns_count():
    counts = [turns(Comparison(conversation(n, system=True), ("a", "b"), (1, 2))) for n in (1, 2, 3, 4, 9)]
    assert counts == ["1", "2", "3", "4+", "4+"]
    assert set(counts) == set(TURNS)


def test_pairs_are_grouped_by_the_turns_of_their_prompt():
    comparisons = [
        Comparison(conversation(1), ("a", "b"), (1, 2)),
        Comparison(conversation(4), ("a", "b", "c"), (3, 1, 2)),
        Comparison(conversation(5), ("a", "b"), (1, 1)),
        Comparison(conversation(1, prefix="p"), ("a", "b"), (2, 1)),
    ]
    pairs = pair_arrays(comparisons)
    gap_P = pairs.gap(np.array([1.0, 0.0, 2.0, 3.0, 4.0, 0.0, 0.0, 1.0, 0.0]))
    parts = breakdowns(comparisons, pairs, gap_P, RESAMPLING)["turns"]
    # Of the second comparison b > a and c > a are right, b > c is wrong.
    assert {name: (part["accuracy"], part["pairs"]) for name, part in parts.items()} == {
        "1": (0.5, 2),
        "4+": (pytest.approx(2 / 3), 3),
    }
    assert list(parts) == ["1", "4+"]


def test_length_bins_by_hand():
    assert list(length_bins(np.array([30.0, -5.0, 1.0, -40.0, 7.0]))) == [
        "+30 to +30",
        "-5 to -5",
        "+1 to +1",
        "-40 to -40",
        "+7 to +7",
    ]
    assert set(length_bins(np.arange(-50.0, 50.0))) == {
        "-50 to -31",
        "-30 to -11",
        "-10 to +9",
        "+10 to +29",
        "+30 to +49",
    }


def test_length_bins_have_equally_many_pairs_and_do_not_overlap():
    gap_P = np.random.default_rng(0).integers(-400, 600, 1003).astype(float)
    bin_P = length_bins(gap_P)
    names, counts = np.unique(bin_P.astype(str), return_counts=True)
    assert len(names) == 5
    assert np.ptp(counts) < 10  # equal differences stay together
    ranges = sorted((gap_P[bin_P == name].min(), gap_P[bin_P == name].max(), name) for name in names)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ranges))
    assert all(name == f"{low:+.0f} to {high:+.0f}" for low, high, name in ranges)


def test_length_bins_of_few_or_equal_differences():
    assert list(length_bins(np.zeros(7))) == ["+0 to +0"] * 7
    assert list(length_bins(np.array([3.0]))) == ["+3 to +3"]
    assert set(length_bins(np.array([0.0] * 90 + [5.0] * 5 + [-5.0] * 5))) == {"-5 to +0", "+5 to +5"}
    assert len(length_bins(np.array([]))) == 0


def test_the_parts_of_a_breakdown_add_up_to_the_whole():
    generator = np.random.default_rng(3)
    comparisons = [
        Comparison(
            conversation(int(generator.integers(1, 7)), prefix=f"{n}."),
            tuple("x" * length for length in generator.integers(0, 90, 3)),
            tuple(int(rank) for rank in generator.integers(1, 4, 3)),
        )
        for n in range(300)
    ]
    pairs = pair_arrays(comparisons)
    gap_P = pairs.gap(generator.normal(size=900))
    result = breakdowns(comparisons, pairs, gap_P, RESAMPLING)
    assert set(result) == {"turns", "length_differences"}
    for parts in result.values():
        assert sum(part["pairs"] for part in parts.values()) == len(gap_P)
        right = sum(part["accuracy"] * part["pairs"] for part in parts.values())
        assert right / len(gap_P) == pytest.approx(metrics.accuracy(gap_P))
    one_P = np.array([sum(m.role == "user" for m in comparisons[i].prompt) == 1 for i in pairs.comparison_P])
    credit_P = metrics.pair_credit(gap_P[one_P])
    expected = bootstrap_interval(credit_P, pairs.prompt_P[one_P], resamples=10, seed=0)
    assert result["turns"]["1"]["accuracy_ci95"] == expected
    lows = [int(name.split(" to ")[0]) for name in result["length_differences"]]
    assert lows == sorted(lows)
    assert list(result["turns"]) == list(TURNS)
