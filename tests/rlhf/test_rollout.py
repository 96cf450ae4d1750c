"""Rollouts as arrays and as packed examples."""

import numpy as np
import pytest
from rollouts import END, make_rollout

from rmjax.data.batch import BatchShape
from rmjax.errors import InputError
from rmjax.rlhf.rollout import Rollout, Sample, sample_with

GROUPS = [[[5, 6, END], [END]], [[END, 7, 8], [3, END]]]


@pytest.fixture
def rollout():
    return make_rollout(GROUPS)


def test_masks_come_from_lengths_and_not_from_tokens(rollout):
    """Response 2 contains the id of END, which is also the padding, and was cut."""
    assert rollout.length_N.tolist() == [3, 1, 3, 2]
    assert rollout.stopped_N.tolist() == [True, True, False, True]
    assert rollout.mask_NxT.tolist() == [[True] * 3, [True, False, False], [True] * 3, [True, True, False]]


def test_values_at_the_last_token(rollout):
    assert rollout.at_last(np.arange(1, 5)).tolist() == [[0, 0, 1], [2, 0, 0], [0, 0, 3], [0, 4, 0]]


def test_arrays_of_tokens_come_back_from_the_packed_batch(rollout):
    from naive import one_bin

    value_NxT = np.arange(12, dtype=np.float32).reshape(4, 3) + 1
    examples = rollout.examples({"value": np.where(rollout.mask_NxT, value_NxT, np.nan)})
    assert [len(e.responses) for e in examples] == [2, 2]
    batch, slots = one_bin(examples, BatchShape(1, 24, 8, 8))
    for n, (example, k) in enumerate(slots):
        stop = batch.responses.score_index_N[n] + 1
        number = 2 * example + k
        length = rollout.length_N[number]
        found = batch.per_token["value"].reshape(-1)[stop - length : stop]
        np.testing.assert_array_equal(found, value_NxT[number, :length])
    assert np.isfinite(batch.per_token["value"]).all()


def test_a_response_without_tokens_is_refused():
    empty = Sample(np.zeros(0, np.int32), np.zeros(0, np.float32), False)
    with pytest.raises(InputError, match="at least its stop token"):
        Rollout(((),), (np.array([1]),), np.array([0]), (empty,), ("",))


@pytest.mark.parametrize("changes", [{"temperature": 0.7}, {"top_k": 5}, {"top_p": 0.9}])
def test_samples_of_another_distribution_are_refused(tiny_trunk, one_device, changes):
    import jax.numpy as jnp

    from rmjax.models.sampling import Sampler
    from rmjax.models.token_choice import SamplingSettings

    settings = SamplingSettings(max_response=4, stop=(0,), **changes)
    with pytest.raises(InputError, match="temperature=1, top_k=0 and top_p=1"):
        sample_with(Sampler(tiny_trunk, jnp.dtype("float32"), one_device, settings), seed=0)
