"""The scoring contract: round trip through its file, and checks of its canaries."""

import dataclasses
import json

import numpy as np
import pytest
from conftest import user

from rmjax.errors import InputError
from rmjax.scoring.contract import FORMAT, Canary, check_canaries, choose_canaries, read_contract


def test_a_contract_reads_back_as_it_was(tmp_path, reward_model):
    path = tmp_path / "contract.json"
    contract = dataclasses.replace(
        reward_model.contract, data={"source": "gold — “quoted”", "start": "random", "lines": [1, 2]}
    )
    path.write_text(contract.to_json(), encoding="utf-8")
    assert read_contract(path) == contract
    assert len(contract.canaries) > 8


def test_another_format_is_refused(tmp_path, reward_model):
    path = tmp_path / "contract.json"
    record = json.loads(reward_model.contract.to_json())
    assert record["format"] == FORMAT
    path.write_text(json.dumps({**record, "format": FORMAT + 1}))
    with pytest.raises(InputError, match=f"has format {FORMAT + 1}, this rmjax reads format {FORMAT}"):
        read_contract(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", "not json"])
def test_what_is_no_contract_is_refused(tmp_path, text):
    path = tmp_path / "contract.json"
    path.write_text(text)
    with pytest.raises(InputError, match="not a scoring contract"):
        read_contract(path)
    with pytest.raises(InputError, match="missing or not a scoring contract"):
        read_contract(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    "change",
    [
        {"head": ...},
        {"head": {"names": ["a"]}},
        {"ending": ...},
        {"surprise": 1},
        {"trunk": {"width": 4}},
        {"data": {"source": "gold"}},
        {"data": {"start": "random"}},
        {"data": {"source": "gold", "start": None}},
    ],
)
def test_an_incomplete_contract_is_refused(tmp_path, reward_model, change):
    record = {**json.loads(reward_model.contract.to_json()), **change}
    path = tmp_path / "contract.json"
    path.write_text(json.dumps({name: value for name, value in record.items() if value is not ...}))
    with pytest.raises(InputError, match="not a complete scoring contract"):
        read_contract(path)


def test_an_unknown_pooling_is_refused(tmp_path, reward_model):
    path = tmp_path / "contract.json"
    path.write_text(reward_model.contract.to_json().replace('"pooling": "last"', '"pooling": "no_such_pooling"'))
    with pytest.raises(InputError, match=r"unknown head.pooling 'no_such_pooling': known are last, first, mean"):
        read_contract(path)


def texts(lengths):
    return [(user(f"q{i}"), "x" * length) for i, length in enumerate(lengths)]


def test_canaries_span_scores_and_lengths():
    rng = np.random.default_rng(0)
    lengths, scores = rng.permutation(100), rng.permutation(100) / 10
    canaries = choose_canaries(texts(lengths), scores, "helpful", count=8)
    assert 4 < len(canaries) <= 8
    assert {min(scores), max(scores)} <= {canary.score for canary in canaries}
    assert {0, 99} <= {len(canary.response) for canary in canaries}
    place = dict(zip(texts(lengths), scores, strict=True))
    assert all(place[canary.prompt, canary.response] == canary.score for canary in canaries)


def test_few_texts_give_few_canaries():
    assert len(choose_canaries(texts([5]), np.array([1.0]), "helpful")) == 1
    assert len(choose_canaries(texts([5, 6]), np.array([1.0, 2.0]), "helpful")) == 2


def canaries(*scores):
    return [Canary(user("q"), "a", "helpful", score) for score in scores]


def test_rounding_passes_and_a_thousandth_does_not():
    stored = canaries(1.0, 2.0, 3.0)
    check_canaries(stored, [1.0005, 2.0, 3.0], "here")
    with pytest.raises(InputError, match=r"here does not score as it did .* head 'helpful' gives 3.01 .* had 3"):
        check_canaries(stored, [1.0, 2.0, 3.01], "here")


def test_a_canary_near_zero_is_measured_by_the_spread_of_the_scores():
    check_canaries(canaries(0.0, 2.0), [0.0009, 2.0], "here")
    with pytest.raises(InputError):
        check_canaries(canaries(0.0, 2.0), [0.002, 2.0], "here")


@pytest.mark.parametrize("level", [0.0, 10.0, 100.0, 1000.0])
def test_the_level_of_the_scores_buys_no_tolerance(level):
    """A ranking loss leaves the level free: at every level 1 % of the spread is too much, and rounding is not."""
    stored = canaries(level - 1, level + 1)
    check_canaries(stored, [level - 1 + 2e-6 * level, level + 1], "here")
    with pytest.raises(InputError):
        check_canaries(stored, [level - 1 + max(0.01, 2e-5 * level), level + 1], "here")


def test_another_head_buys_no_tolerance():
    far = [*canaries(-50.0, -51.0), Canary(user("q"), "a", "safety", 0.0), Canary(user("q"), "b", "safety", 1.0)]
    check_canaries(far, [-50.0, -51.0, 0.0, 1.0], "here")
    with pytest.raises(InputError, match=r"head 'safety' gives 0\.01"):
        check_canaries(far, [-50.0, -51.0, 0.01, 1.0], "here")


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_refused(score):
    with pytest.raises(InputError, match="verify=False"):
        check_canaries(canaries(1.0, 2.0), [1.0, score], "here")


def test_no_canaries_prove_nothing_and_break_nothing():
    check_canaries([], [], "here")
