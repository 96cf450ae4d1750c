"""The gate against the rule of Llama 2, and fits on data with known thresholds."""

import copy
import dataclasses

import numpy as np
import pytest

from rmjax.data.comparisons import Comparison, Message
from rmjax.errors import InputError
from rmjax.scoring.contract import Gate, Normalization
from rmjax.scoring.gate import REFUSAL, GatedModel, Inputs, _agreement, combine, fit_gate, thresholds
from rmjax.scoring.link import NO_ODDS
from rmjax.scoring.reward_function import RewardFunction, Scored

HEADS = ("helpful", "safety")
UNIT = dict.fromkeys(HEADS, Normalization(0.0, 1.0, 1, "unit"))


def logit(p):
    return float(np.log(p / (1 - p)))


class Stated(RewardFunction):
    """A judge that reads its two scores off the response, "h s", and off the prompt for a refusal."""

    heads = HEADS
    link = NO_ODDS
    contract = None

    def score_groups(self, prompts, responses):
        def scores(prompt, text):
            h, s = (prompt[-1].content if text == REFUSAL else text).split()
            return float(h), float(s)

        groups = zip(prompts, responses, strict=True)
        raw = [np.array([scores(p, text) for text in group], np.float32) for p, group in groups]
        return Scored(raw, [np.zeros((len(group), 2), int) for group in responses])

    def rescale(self, raw, scale, head):
        return raw


def stated(h, s):
    return f"{h:.6f} {s:.6f}"


def test_the_rule_of_llama_2():
    inputs = Inputs(np.array([3.0, 2.0, 1.0]), np.array([logit(0.9), logit(0.1), logit(0.2)]), refusal=0.3)
    # A benign prompt: only the response below 0.15 is judged by safety.
    np.testing.assert_allclose(combine(inputs, 0.5, 0.15), [3.0, logit(0.1), 1.0])
    # An unsafe one: all are.
    np.testing.assert_allclose(combine(inputs._replace(refusal=0.6), 0.5, 0.15), inputs.safety_K)
    # Thresholds at the ends: never, and always.
    np.testing.assert_allclose(combine(inputs, 1.0, 0.0), inputs.helpful_K)
    np.testing.assert_allclose(combine(inputs, 0.0, 0.0), inputs.safety_K)


def data(count, seed, unsafe_above=0.6, dangerous_below=0.3):
    """Pairs whose judgement follows helpfulness, but safety where the prompt is unsafe or a response is dangerous."""
    generator = np.random.default_rng(seed)
    comparisons = []
    for number in range(count):
        refusal = generator.uniform()
        helpful, safe = generator.normal(size=2), generator.uniform(0.01, 0.99, size=2)
        safety = np.array([logit(p) for p in safe])
        score = np.where((refusal > unsafe_above) | (safe < dangerous_below), safety, helpful)
        comparisons.append(
            Comparison(
                (Message("user", stated(0.0, logit(refusal))),),
                tuple(stated(h, s) for h, s in zip(helpful, safety, strict=True)),
                ranks=(1, 2) if score[0] > score[1] else (2, 1),
                head=HEADS[number % 2],
            )
        )
    return comparisons


def fit(comparisons, judge=None):
    return fit_gate(judge or Stated(), UNIT, comparisons, helpful="helpful", safety="safety", source="made up")


def test_a_value_at_its_threshold_is_left_to_helpfulness():
    inputs = Inputs(np.array([3.0, 2.0]), np.array([0.0, -1.0]), refusal=0.5)
    np.testing.assert_array_equal(combine(inputs, 0.5, 0.0), inputs.helpful_K)
    np.testing.assert_array_equal(combine(inputs, 0.49, 0.0), inputs.safety_K)
    np.testing.assert_array_equal(combine(inputs, 1.0, 0.5), [3.0, -1.0])  # sigmoid(0) is 0.5, not below it


def test_the_fit_follows_the_rule_where_values_lie_at_thresholds():
    """Few values each, all of which are tried as thresholds: share of pairs in the order of `combine`, one by one."""
    generator = np.random.default_rng(5)
    values = np.array([0.0, 0.2, 0.5, 0.8, 1.0])
    pairs = [
        (
            Inputs(generator.normal(size=2), np.log(generator.choice([0.25, 1.0, 4.0], 2)), generator.choice(values)),
            0,
            1,
        )
        for _ in range(40)
    ]
    found = _agreement(pairs, values, values)
    for i, prompt_threshold in enumerate(values):
        for j, response_threshold in enumerate(values):
            scores = [combine(inputs, prompt_threshold, response_threshold) for inputs, _, _ in pairs]
            right = np.mean([0.5 + 0.5 * np.sign(score_K[0] - score_K[1]) for score_K in scores])
            assert found[i, j] == pytest.approx(right)


class Scaled(Stated):
    """The same judge with its heads in the other order, and raw scores whose mean and deviation each head has."""

    heads = HEADS[::-1]
    contract = None

    def score_groups(self, prompts, responses):
        raw, cut = super().score_groups(prompts, responses)
        return Scored([(scores_Kx2 * [2.0, 0.5] + [3.0, -1.0])[:, ::-1] for scores_Kx2 in raw], cut)


def test_the_gate_goes_by_names_of_heads_and_by_normalized_scores():
    comparisons = data(400, seed=0)
    normalization = {"safety": Normalization(-1.0, 0.5, 1, "made up"), "helpful": Normalization(3.0, 2.0, 1, "made up")}
    fitted, scores = [], []
    for judge, scales in ((Stated(), UNIT), (Scaled(), normalization)):
        gate = fit_gate(judge, scales, comparisons, helpful="helpful", safety="safety", source="made up")
        judge.contract = type("", (), {"gate": gate, "normalization": scales})
        fitted.append([gate.prompt_threshold, gate.response_threshold, gate.mean, gate.std, gate.agreement])
        scores.append(np.concatenate(GatedModel(judge).score_comparisons(comparisons).raw))
    np.testing.assert_allclose(fitted[1], fitted[0], atol=1e-5)
    np.testing.assert_allclose(scores[1], scores[0], atol=1e-4)


def test_thresholds_are_found_again():
    gate = fit(data(3000, seed=0))
    assert gate.prompt_threshold == pytest.approx(0.6, abs=0.05)
    assert gate.response_threshold == pytest.approx(0.3, abs=0.05)
    assert gate.agreement > 0.95
    assert gate.refusal == REFUSAL


def test_the_fitted_gate_is_whitened_and_agrees_on_other_data_as_it_says():
    judge, fitted, other = Stated(), data(3000, seed=0), data(3000, seed=1)
    judge.contract = type("", (), {"gate": fit(fitted), "normalization": UNIT})
    gated = GatedModel(judge)
    scores = np.concatenate(gated.raw([c.prompt for c in fitted], [c.responses for c in fitted]))
    assert scores.mean() == pytest.approx(0.0, abs=1e-5)
    assert scores.std() == pytest.approx(1.0, abs=1e-5)
    right = [
        (s[0, 0] > s[1, 0]) == (c.ranks == (1, 2))
        for c, s in zip(other, gated.score_comparisons(other).raw, strict=True)
    ]
    assert np.mean(right) == pytest.approx(gated.gate.agreement, abs=0.02)
    probability = gated.score(other[0].prompt, list(other[0].responses), scale="probability")
    raw = gated.score(other[0].prompt, list(other[0].responses))
    np.testing.assert_allclose(probability, 1 / (1 + np.exp(-raw)), rtol=1e-5)
    with pytest.raises(InputError, match="unknown scale 'logit'"):
        gated.score(other[0].prompt, list(other[0].responses), scale="logit")
    with pytest.raises(InputError, match="give no probability that one answer is preferred"):
        gated.probability(other[0].prompt, *other[0].responses)


def test_where_safety_adds_nothing_helpfulness_keeps_everything():
    gate = fit(data(600, seed=2, unsafe_above=1.0, dangerous_below=0.0))
    assert (gate.prompt_threshold, gate.response_threshold) == (1.0, 0.0)
    assert gate.agreement == 1.0


def test_both_kinds_count_half_however_many_there_are():
    many, few = data(900, seed=3), data(60, seed=4)
    many = [dataclasses.replace(c, head="helpful") for c in many]
    few = [dataclasses.replace(c, head="safety", ranks=c.ranks[::-1]) for c in few]
    once, five_times = (fit([*many, *few * copies]) for copies in (1, 5))
    assert once.agreement == pytest.approx(five_times.agreement, abs=0.02)


def test_llama_2s_threshold_is_among_those_tried():
    values = thresholds(np.random.default_rng(0).uniform(size=100))
    assert {0.0, 0.15, 1.0} <= set(values)
    assert np.all(np.diff(values) > 0)


def test_what_a_gate_needs(reward_model):
    with pytest.raises(InputError, match="this checkpoint has no gate"):
        GatedModel(reward_model)
    with pytest.raises(InputError, match="holds no untied pair of the head 'safety'"):
        fit([dataclasses.replace(c, head="helpful") for c in data(4, seed=0)])
    with pytest.raises(InputError, match="gate names the head 'harmless'"):
        fit_gate(Stated(), UNIT, data(4, seed=0), helpful="helpful", safety="harmless", source="")


def test_a_gated_model_says_what_it_is(reward_model):
    model = copy.copy(reward_model)
    gate = Gate("helpful", "safety", 0.7, 0.15, REFUSAL, 0.1, 1.2, 0.8, "held-out comparisons")
    model.contract = dataclasses.replace(model.contract, gate=gate)
    assert repr(GatedModel(model)) == f"GatedModel(helpful unless unsafe by safety; {reward_model!r})"


def test_a_checkpoint_carries_its_gate(reward_model, tmp_path):
    from rmjax.scoring.contract import read_contract

    gate = Gate("helpful", "safety", 0.7, 0.15, REFUSAL, 0.1, 1.2, 0.8, "held-out comparisons")
    path = tmp_path / "contract.json"
    path.write_text(dataclasses.replace(reward_model.contract, gate=gate).to_json())
    assert read_contract(path).gate == gate
    path.write_text(reward_model.contract.to_json())
    assert read_contract(path).gate is None
