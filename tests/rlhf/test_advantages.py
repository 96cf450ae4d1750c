"""Advantages against loops in NumPy and arithmetic by hand."""

import numpy as np
import pytest

from rmjax.errors import InputError
from rmjax.rlhf import advantages

LENGTHS = np.array([1, 4, 3])
MASK = advantages.token_mask(LENGTHS, 5)


@pytest.fixture
def arrays():
    """(rewards, values) with NaN after the responses: nothing there is read."""
    rng = np.random.default_rng(0)
    return [np.where(MASK, rng.normal(size=MASK.shape), np.nan) for _ in range(2)]


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.0), (0.7, 1.0), (0.8, 0.5)])
def test_gae_is_the_double_sum_of_its_definition(arrays, gamma, lam):
    reward, value = arrays
    expected = np.zeros(MASK.shape)
    for n, length in enumerate(LENGTHS):
        after = np.append(value[n, :length], 0.0)
        for t in range(length):
            for i in range(t, length):
                expected[n, t] += (gamma * lam) ** (i - t) * (reward[n, i] + gamma * after[i + 1] - after[i])
    found = advantages.gae(reward, value, LENGTHS, gamma=gamma, lam=lam)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.float32


def test_returns_are_sums_of_later_rewards(arrays):
    reward, _ = arrays
    found = advantages.returns(reward, LENGTHS, gamma=0.9)
    for n, length in enumerate(LENGTHS):
        for t in range(length):
            assert found[n, t] == pytest.approx(sum(0.9 ** (i - t) * reward[n, i] for i in range(t, length)), abs=1e-6)
    assert not found[~MASK].any()


def test_an_advantage_with_lambda_one_is_the_return_minus_the_value(arrays):
    reward, value = arrays
    found = advantages.gae(reward, value, LENGTHS, gamma=0.9, lam=1.0)
    expected = advantages.returns(reward, LENGTHS, gamma=0.9) - value
    np.testing.assert_allclose(found[MASK], expected[MASK], atol=1e-6)


def test_a_reward_reaches_its_own_and_earlier_tokens_only():
    for n, length in enumerate(LENGTHS):
        for place in range(length):
            reward = np.zeros(MASK.shape)
            reward[n, place] = 1.0
            found = advantages.gae(reward, np.zeros(MASK.shape), LENGTHS)
            np.testing.assert_allclose(found[n, : place + 1], 0.95 ** np.arange(place + 1)[::-1], rtol=1e-6)
            assert np.count_nonzero(found) == place + 1


def test_whitened_values_have_mean_zero_and_deviation_one(arrays):
    x, _ = arrays
    found = advantages.whiten(x, MASK)
    assert found[MASK].mean() == pytest.approx(0, abs=1e-6)
    assert found[MASK].std() == pytest.approx(1, abs=1e-6)
    assert not found[~MASK].any()
    kept = advantages.whiten(x, MASK, center=False)
    assert kept[MASK].mean() == pytest.approx(x[MASK].mean(), abs=1e-6)


def test_equal_values_do_not_become_noise():
    x = np.full(MASK.shape, 0.1, np.float32) + np.float32(1e-8) * np.arange(5, dtype=np.float32)
    assert np.abs(advantages.whiten(x, MASK)).max() < 0.1


GROUPS = np.array([0, 0, 0, 1, 1])


def test_leave_one_out_is_the_mean_of_the_others():
    score = np.array([1.0, 5.0, 3.0, -2.0, 8.0])
    expected = [score[i] - np.mean([score[j] for j in range(5) if GROUPS[j] == GROUPS[i] and j != i]) for i in range(5)]
    np.testing.assert_allclose(advantages.leave_one_out(score, GROUPS), expected)
    columns = advantages.leave_one_out(np.stack([score, score * 2], 1), GROUPS)
    np.testing.assert_allclose(columns, np.stack([expected, np.multiply(expected, 2)], 1))


def test_a_group_of_any_order_gives_the_same():
    score, order = np.array([1.0, 5.0, 3.0, -2.0, 8.0]), np.array([3, 0, 4, 2, 1])
    for function in (advantages.leave_one_out, advantages.group_relative, advantages.group_deviation):
        np.testing.assert_allclose(function(score[order], GROUPS[order]), function(score, GROUPS)[order])


def test_group_relative_by_hand():
    found = advantages.group_relative(np.array([1.0, 5.0, 3.0, -2.0, 8.0]), GROUPS)
    assert found.tolist() == [-2.0, 2.0, 0.0, -5.0, 5.0]


def test_group_deviation_is_that_of_numpy_and_has_no_residue():
    score = np.array([0.1, 0.1, 0.1, 1.0, 4.0], np.float32) * np.float32(1000)
    found = advantages.group_deviation(score, GROUPS)
    assert found[3:] == pytest.approx(np.std(score[3:]))
    assert found[:3].max() < 1e-9
    assert advantages.dead_groups(score, GROUPS) == (1, 2)


def test_one_response_has_no_group():
    for function in (advantages.leave_one_out, advantages.group_relative):
        with pytest.raises(InputError, match="sample at least two"):
            function(np.array([1.0, 2.0, 3.0]), np.array([0, 0, 1]))
