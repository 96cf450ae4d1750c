"""Verdict on a gate from made-up scores of known accuracy: against chance and against each head alone."""

import json

import numpy as np
import pytest

from rmjax.data.comparisons import Comparison, Message
from rmjax.evaluation.bootstrap import Bootstrap
from rmjax.evaluation.evaluate import evaluate_heads, json_safe
from rmjax.evaluation.gates import evaluate_gate
from rmjax.evaluation.summary import summary

HEADS = ("helpful", "safety")
GATE = ("helpful", "safety")
MANY = {"helpful": 4000, "safety": 4000}


def judged(right, count=100):
    """Pairs of both kinds, with the first response better; right[(judge, label)] of 100 are in order."""
    comparisons, gate_scores, scores = [], [], []
    for label in HEADS:
        for n in range(count):
            comparisons.append(Comparison((Message("user", f"{label} {n}"),), ("a", "b"), (1, 2), head=label))
            sign = {judge: 1.0 if n < right[judge, label] else -1.0 for judge in ("gate", *HEADS)}
            gate_scores.append(np.array([sign["gate"], 0.0]))
            scores.append(np.array([[sign[head] for head in HEADS], [0.0, 0.0]]))
    return comparisons, gate_scores, scores


def measured(right, fitted=MANY, resamples=500):
    result = evaluate_gate(GATE, *judged(right), HEADS, Bootstrap(resamples, 0), fitted)
    json.dumps(json_safe(result), allow_nan=False)
    return result


WRONG_HEAD = {("helpful", "safety"): 10, ("safety", "helpful"): 10}  # routing must not use these


def test_a_gate_that_is_worse_than_chance_is_not_to_be_used():
    right = {("gate", "helpful"): 35, ("gate", "safety"): 80, ("helpful", "helpful"): 60, ("safety", "safety"): 78}
    result = measured({**right, **WRONG_HEAD}, fitted={"helpful": 62, "safety": 300})
    assert result["accuracy"] == pytest.approx(0.575)
    assert {label: part["accuracy"] for label, part in result["labels"].items()} == {"helpful": 0.35, "safety": 0.8}
    against = result["against_heads"]
    assert (against["other_accuracy"], against["difference"]) == pytest.approx((0.69, 0.575 - 0.69))
    assert against["labels"]["helpful"]["difference"] == pytest.approx(-0.25)
    low, high = (100 * end for end in result["labels"]["helpful"]["accuracy_ci95"])
    text = result["verdict"]
    assert f"On helpful the gate is worse than chance (35.0 %, {low:.1f} to {high:.1f}) and worse than the head" in text
    assert "On safety the gate is better than chance (80.0 %, " in text
    assert "not distinguishable from the head safety alone (+2.0 points, " in text
    assert "Do not use it: score each prompt with the head of its kind instead (--head of score.py)." in text
    assert "Routed by the label of the data, the heads have 69.0 %, the gate 57.5 % (-11.5 points, " in text
    assert "fitted on few comparisons (62 of helpful): its thresholds are uncertain" in text
    thresholds = {"prompt_threshold": 0.7, "response_threshold": 0.15}  # of the contract
    assert text in summary({**evaluated(), "gate": json_safe({**thresholds, **result})})


def evaluated():
    """Returns the rest of an evaluation, which the summary needs."""
    comparisons, _, scores = judged({**dict.fromkeys([(j, h) for j in ("gate", *HEADS) for h in HEADS], 50)})
    return evaluate_heads(comparisons, scores, HEADS, bootstrap=0, seed=0)


def test_a_gate_as_good_as_its_heads_gets_no_advice():
    right = {("gate", "helpful"): 80, ("gate", "safety"): 80, ("helpful", "helpful"): 80, ("safety", "safety"): 70}
    text = measured({**right, **WRONG_HEAD})["verdict"]
    assert "better than the head safety alone (+10.0 points" in text
    assert "instead" not in text
    assert "few" not in text


def test_a_gate_worse_than_a_head_gets_advice():
    right = {("gate", "helpful"): 80, ("gate", "safety"): 70, ("helpful", "helpful"): 80, ("safety", "safety"): 90}
    text = measured({**right, **WRONG_HEAD})["verdict"]
    assert "If the kind of a prompt is known, score it with the head of its kind instead (--head of score.py)." in text
    assert "Do not use" not in text


def test_without_intervals_nothing_is_decided():
    right = {("gate", "helpful"): 80, ("gate", "safety"): 80, ("helpful", "helpful"): 90, ("safety", "safety"): 90}
    text = measured({**right, **WRONG_HEAD}, resamples=0)["verdict"]
    assert "On helpful the gate is not distinguishable from chance (80.0 %) and not distinguishable from" in text
    assert "instead" not in text


def test_the_verdict_of_data_of_one_kind_is_about_that_kind():
    right = {("gate", "helpful"): 60, ("gate", "safety"): 80, ("helpful", "helpful"): 90, ("safety", "safety"): 90}
    comparisons, gate_scores, scores = (each[100:] for each in judged({**right, **WRONG_HEAD}))
    result = evaluate_gate(GATE, comparisons, gate_scores, scores, HEADS, Bootstrap(500, 0), MANY)
    assert list(result["labels"]) == ["safety"]
    assert "worse than the head safety alone (-10.0 points" in result["verdict"]
    assert "helpful" not in result["verdict"]
