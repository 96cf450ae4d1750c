"""Robustness probes of scorers with known effects, against hand counts and theory."""

import json
import math

import numpy as np
import pytest

from rmjax.data.comparisons import Comparison, Message
from rmjax.data.gold import corpus as gold
from rmjax.errors import InputError
from rmjax.evaluation.benchmarks.probes import PROBES, evaluate_probes, summary


def comparison(prompt, *responses):
    return Comparison((Message("user", prompt),), responses, tuple(range(1, len(responses) + 1)))


def scorer(score):
    """Returns a TextScorer from a function of one text."""
    return lambda prompts, responses: [np.array([score(text) for text in group]) for group in responses]


def probed(score, comparisons, bootstrap=0):
    result = evaluate_probes(scorer(score), comparisons, bootstrap=bootstrap, seed=0)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    return result


def test_the_edits():
    edited = {name: probe.edit("Yes.") for name, probe in PROBES.items()}
    assert edited["spaces"] == "Yes.   "
    assert edited["newlines"] == "Yes.\n\n"
    assert edited["repeated"] == "Yes.\n\nYes."
    assert edited["opener"] == "Thought process:\nYes."
    for name in ("filler", "flattery", "certainty", "emoji"):
        assert edited[name].startswith("Yes. ")
    assert len(set(edited.values())) == len(PROBES)


def test_a_scorer_of_lengths_by_hand():
    """Lengths 2, 6, 4 with standard deviation sqrt(8/3); three spaces raise 2 above 4, 4 above 6, not 2 above 6."""
    result = probed(len, [comparison("a", "ab", "abcdef", "abcd")])
    std = math.sqrt(8 / 3)
    assert (result["responses"], result["pairs"], result["prompts"]) == (3, 3, 1)
    assert result["score_std"] == pytest.approx(std)
    spaces, repeated = result["probes"]["spaces"], result["probes"]["repeated"]
    assert spaces["mean_change"] == pytest.approx(3 / std)
    assert (spaces["rises"], spaces["unchanged"], spaces["flips"]) == (1.0, 0.0, 2 / 3)
    # Twice the answer and two line breaks: 2 -> 6 ties with 6, 4 -> 10 beats 6, 2 -> 6 beats 4.
    assert repeated["mean_change"] == pytest.approx((4 + 8 + 6) / 3 / std)
    assert repeated["flips"] == 2 / 3


def test_an_edit_that_lowers_every_score_flips_nothing():
    """Only the loser is edited: an edited winner would lose."""
    result = probed(lambda text: -len(text), [comparison("a", "ab", "abcdef", "abcd")])
    for probe in result["probes"].values():
        assert probe["mean_change"] < 0
        assert (probe["rises"], probe["flips"]) == (0.0, 0.0)


def test_scores_of_a_scorer_that_does_not_see_the_end_are_unchanged():
    result = probed(lambda text: ord(text[0]), [comparison("a", "x", "yy"), comparison("b", "u", "v")])
    changed = {name for name, probe in result["probes"].items() if probe["unchanged"] < 1}
    assert changed == {"opener"}
    assert result["probes"]["opener"]["rises"] == 0.0


def test_a_scorer_that_ties_everything_has_no_pair_and_no_unit():
    result = probed(lambda text: 1.0, [comparison("a", "x", "y"), comparison("b", "x", "y")], bootstrap=20)
    assert (result["pairs"], result["score_std"]) == (0, 0.0)
    spaces = result["probes"]["spaces"]
    assert (spaces["mean_change"], spaces["mean_change_ci95"]) == (None, None)
    assert (spaces["flips"], spaces["flips_ci95"]) == (None, None)
    assert (spaces["rises"], spaces["unchanged"]) == (0.0, 1.0)
    assert "-" in summary(result).splitlines()[3].split()


def test_labels_are_not_used():
    one = comparison("a", "ab", "abcdef", "abcd")
    other = Comparison(one.prompt, one.responses, (1, 1, 1), head="safety")
    assert probed(len, [one]) == probed(len, [other])


def test_a_response_and_its_edits_are_scored_in_one_call():
    """Texts that the scorer cannot distinguish then tie exactly, and a prompt is computed once."""
    calls = []

    def score(prompts, responses):
        calls.append((prompts, responses))
        return [np.zeros(len(group)) for group in responses]

    evaluate_probes(score, [comparison("a", "x", "y"), comparison("b", "z", "w")], bootstrap=0, seed=0)
    ((prompts, responses),) = calls
    assert [prompt[-1].content for prompt in prompts] == ["a", "b"]
    assert [group[:4] for group in responses] == [["x", "y", "x   ", "y   "], ["z", "w", "z   ", "w   "]]
    assert {len(group) for group in responses} == {2 * (1 + len(PROBES))}


def test_intervals_by_prompt_agree_with_theory():
    """A scorer that counts spaces at the end for a third of 300 prompts: the share p of prompts has a standard error of
    sqrt(p (1 - p) / 300), for any number of responses."""
    comparisons = [comparison(str(i), f"{i % 3} x", f"{i % 3} xyz", f"{i % 3} xyzw") for i in range(300)]
    result = probed(lambda text: len(text if text[0] == "0" else text.strip()), comparisons, bootstrap=2000)
    width = 2 * 1.96 * math.sqrt(1 / 3 * 2 / 3 / 300)
    # Lengths 3, 5 and 6: three spaces raise the lower above the higher in two pairs of three, and the third ties.
    for name, there in (("rises", 1), ("flips", 2 / 3), ("mean_change", 3 / result["score_std"])):
        probe = result["probes"]["spaces"]
        assert probe[name] == pytest.approx(there / 3)
        low, high = probe[f"{name}_ci95"]
        assert low < probe[name] < high
        assert high - low == pytest.approx(width * there, rel=0.1)
    assert result["probes"]["newlines"]["flips"] == pytest.approx(1 / 3 / 3)


@pytest.mark.parametrize("head", ["helpful", "safety"])
def test_no_edit_raises_the_gold_reward(head):
    """Added white space does not change a gold reward, and the other edits do not raise it."""

    def truth(prompts, responses):
        return [
            np.array([getattr(gold.gold(prompt, text), head) for text in group])
            for prompt, group in zip(prompts, responses, strict=True)
        ]

    result = evaluate_probes(truth, gold.comparisons("both", "test", 200), bootstrap=100, seed=0)
    assert result["pairs"] > 500
    for probe in result["probes"].values():
        assert (probe["rises"], probe["flips"]) == (0.0, 0.0)
    assert result["probes"]["spaces"]["unchanged"] == 1.0
    assert result["probes"]["newlines"]["unchanged"] == 1.0
    assert result["probes"]["repeated"]["mean_change_ci95"][1] < -0.3


def test_the_summary_has_a_line_for_every_probe():
    lines = summary(probed(len, [comparison(str(i), "ab", "abcd") for i in range(3)], bootstrap=50)).splitlines()
    assert "6 responses to 3 prompts (3 pairs)" in lines[0]
    assert [line.split()[0] for line in lines[3:]] == list(PROBES)
    assert lines[3].split()[:5] == ["spaces", "+3.00", "(+3.00", "to", "+3.00)"]
    assert "100.0 (100.0 to 100.0)" in lines[3]


def test_scores_that_do_not_fit():
    items = [comparison("a", "x", "y")]
    with pytest.raises(InputError, match="no comparison"):
        evaluate_probes(scorer(len), [], bootstrap=0, seed=0)
    with pytest.raises(ValueError, match="scores for 0 of 1"):
        evaluate_probes(lambda prompts, responses: [], items, bootstrap=0, seed=0)
    with pytest.raises(ValueError, match=r"number 1 with its edits needs scores of shape \(18,\), but has .* \(2,\)"):
        evaluate_probes(lambda prompts, responses: [np.zeros(2)], items, bootstrap=0, seed=0)
    with pytest.raises(InputError, match="not finite"):
        evaluate_probes(scorer(lambda text: math.nan), items, bootstrap=0, seed=0)
