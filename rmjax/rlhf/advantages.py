"""Advantages and returns of sampled responses: NumPy functions of arrays `[N, T]` padded after each response.

`length_N` says how many tokens a response has. Tokens after that are padding: their values are not read, and the
results are 0 there. Sums are in float64, results are float32.

A response is an episode. It ends after its last token, also if it was cut at the length limit: the value after the
last token is 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rmjax.errors import InputError


def token_mask(length_N: np.ndarray, tokens: int) -> np.ndarray:
    """Returns True at the tokens of each response, `[N, tokens]`.

    Example:
        >>> token_mask(np.array([1, 3]), 3).tolist()
        [[True, False, False], [True, True, True]]
    """
    return np.arange(tokens)[None] < length_N[:, None]


def returns(reward_NxT: np.ndarray, length_N: np.ndarray, *, gamma: float = 1.0) -> np.ndarray:
    """G_t = Σ_{i>=t} γ^(i-t) r_i: the discounted rewards from each token on, `[N, T]`.

    Example:
        >>> returns(np.array([[1.0, 2.0, 9.0]]), np.array([2]), gamma=0.5).tolist()
        [[2.0, 2.0, 0.0]]
    """
    return gae(reward_NxT, np.zeros_like(reward_NxT), length_N, gamma=gamma, lam=1.0)


def gae(
    reward_NxT: np.ndarray, value_NxT: np.ndarray, length_N: np.ndarray, *, gamma: float = 1.0, lam: float = 0.95
) -> np.ndarray:
    """Generalized advantage estimates A_t = Σ_{i>=t} (γλ)^(i-t) δ_i with δ_t = r_t + γ V_{t+1} - V_t, `[N, T]`.

    The target of the value function is A_t + V_t.

    Args:
        reward_NxT: reward of each token.
        value_NxT: value of the state before each token.
        length_N: tokens of each response.
        gamma: discount γ.
        lam: λ; 1 for returns minus values, 0 for one-step errors.

    Example:
        δ = (0 + 0.5 - 1, 2 - 0.5) = (-0.5, 1.5), so A = (-0.5 + 0.5 · 1.5, 1.5).

        >>> gae(np.array([[0.0, 2.0]]), np.array([[1.0, 0.5]]), np.array([2]), lam=0.5).tolist()
        [[0.25, 1.5]]

    Source: Schulman et al. (1506.02438), equation 16.
    """
    mask_NxT = token_mask(length_N, reward_NxT.shape[1])
    reward, value = (np.where(mask_NxT, x, 0.0).astype(np.float64) for x in (reward_NxT, value_NxT))
    following = np.concatenate([value[:, 1:], np.zeros((len(value), 1))], axis=1)
    delta = reward + gamma * following - value
    advantage = np.zeros_like(delta)
    later = np.zeros(len(delta))
    for t in reversed(range(delta.shape[1])):
        later = advantage[:, t] = delta[:, t] + gamma * lam * later
    return advantage.astype(np.float32)


def whiten(x_NxT: np.ndarray, mask_NxT: np.ndarray, *, center: bool = True, floor: float = 1e-6) -> np.ndarray:
    """Returns values with standard deviation 1, and mean 0 or their own mean, over the tokens of the mask.

    Args:
        x_NxT: the values.
        mask_NxT: the tokens that count; the result is 0 elsewhere.
        center: False keeps the mean.
        floor: the values are divided by at least this, so that equal values do not become noise.

    Example:
        >>> mask = np.array([[True, True, False]])
        >>> whiten(np.array([[1.0, 3.0, 99.0]]), mask).tolist()
        [[-1.0, 1.0, 0.0]]
        >>> whiten(np.array([[1.0, 3.0, 99.0]]), mask, center=False).tolist()
        [[1.0, 3.0, 0.0]]
    """
    x = x_NxT.astype(np.float64)
    mean = x[mask_NxT].mean()
    centred = x - mean
    scaled = centred / max(np.sqrt((centred[mask_NxT] ** 2).mean()), floor)
    return np.where(mask_NxT, scaled if center else scaled + mean, 0.0).astype(np.float32)


def leave_one_out(score: np.ndarray, group_N: np.ndarray) -> np.ndarray:
    """Returns each score minus the mean of the other scores of its group (RLOO).

    Args:
        score: `[N]`, or `[N, T]` for the groups of every column.
        group_N: the group of each response: the responses to one prompt.

    Raises:
        InputError: a group has one response.

    Example:
        >>> leave_one_out(np.array([1.0, 2.0, 6.0]), np.array([0, 0, 0])).tolist()
        [-3.0, -1.5, 4.5]

    Source: Kool et al. (2019); Ahmadian et al. (2402.14740).
    """
    count = _group_sizes(group_N, score.ndim)
    return (_centred(score, group_N) * count / (count - 1)).astype(np.float32)


def group_relative(score: np.ndarray, group_N: np.ndarray) -> np.ndarray:
    """Returns each score minus the mean of its group (GRPO); see `leave_one_out`.

    The division by the standard deviation of the group, as in the first GRPO, is separate: `group_deviation`. Without
    it (Dr. GRPO) prompts with almost equal scores have no excess weight.

    Args:
        score: `[N]` or `[N, T]`.
        group_N: the group of each response.

    Raises:
        InputError: a group has one response.

    Example:
        >>> group_relative(np.array([1.0, 3.0, 5.0, 5.0]), np.array([0, 0, 1, 1])).tolist()
        [-1.0, 1.0, 0.0, 0.0]

    Source: Shao et al. (2402.03300); without division: Liu et al. (2503.20783).
    """
    _group_sizes(group_N, score.ndim)
    return _centred(score, group_N).astype(np.float32)


def group_deviation(score_N: np.ndarray, group_N: np.ndarray) -> np.ndarray:
    """Returns for each response the standard deviation of the scores of its group, float64.

    It has two passes, the mean first and then the squares of what is left, so that equal large scores give 0 and not
    the rounding error of their squares. A caller that divides by it needs a floor.

    Example:
        >>> group_deviation(np.array([1.0, 3.0, 5e7, 5e7]), np.array([0, 0, 1, 1])).tolist()
        [1.0, 1.0, 0.0, 0.0]
    """
    return np.sqrt(_group_means(_centred(score_N, group_N) ** 2, group_N))


class DeadGroups(NamedTuple):
    """Groups whose responses all have about the same score, so that they teach nothing.

    Attributes:
        dead: their number.
        groups: the number of all groups.
    """

    dead: int
    groups: int


def dead_groups(score_N: np.ndarray, group_N: np.ndarray, *, floor: float = 1e-6) -> DeadGroups:
    """Counts the groups whose scores have a standard deviation of at most `floor`.

    Example:
        >>> dead_groups(np.array([1.0, 3.0, 5.0, 5.0]), np.array([0, 0, 1, 1]))
        DeadGroups(dead=1, groups=2)
    """
    deviation_N = group_deviation(score_N, group_N)
    _, first = np.unique(group_N, return_index=True)
    return DeadGroups(int((deviation_N[first] <= floor).sum()), len(first))


def hold_last(x_NxT: np.ndarray, length_N: np.ndarray) -> np.ndarray:
    """Returns the values with the last one of each response repeated after its end.

    A baseline per token compares a token with its siblings' tokens at the same place. A sibling that has ended is then
    represented by its last token.

    Example:
        >>> hold_last(np.array([[1.0, 2.0, 0.0], [3.0, 4.0, 5.0]]), np.array([2, 3])).tolist()
        [[1.0, 2.0, 2.0], [3.0, 4.0, 5.0]]
    """
    index_NxT = np.minimum(np.arange(x_NxT.shape[1])[None], length_N[:, None] - 1)
    return np.take_along_axis(x_NxT, index_NxT, axis=1)


def _group_sizes(group_N: np.ndarray, ndim: int) -> np.ndarray:
    _, inverse, count = np.unique(group_N, return_inverse=True, return_counts=True)
    if count.min() < 2:
        raise InputError("a prompt has one response, which has no others to compare with: sample at least two of each")
    return count[inverse].reshape(-1, *[1] * (ndim - 1))


def _group_means(x: np.ndarray, group_N: np.ndarray) -> np.ndarray:
    """Returns for each response the mean of its group, float64 with the shape of `x`."""
    _, inverse, count = np.unique(group_N, return_inverse=True, return_counts=True)
    sums = np.zeros((len(count), *x.shape[1:]))
    np.add.at(sums, inverse, x.astype(np.float64))
    return (sums / count.reshape(-1, *[1] * (x.ndim - 1)))[inverse]


def _centred(x: np.ndarray, group_N: np.ndarray) -> np.ndarray:
    return x.astype(np.float64) - _group_means(x, group_N)
