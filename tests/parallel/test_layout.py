"""Tests of layouts: choice of devices, transfer of state, and compiled steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rmjax.errors import InputError
from rmjax.parallel.layout import AXIS, Pmap, make_layout


def test_zero_means_all_devices_and_a_number_the_first_ones():
    assert make_layout(layout="pmap", devices=0).devices == tuple(jax.local_devices())
    two = make_layout(layout="pmap", devices=2)
    assert two.devices == tuple(jax.local_devices()[:2])
    assert two.shards == 2


def test_invalid_layouts_are_refused():
    with pytest.raises(InputError, match=r"parallel.layout 'fsdpp'"):
        make_layout(layout="fsdpp", devices=0)
    with pytest.raises(InputError, match=r"parallel.devices=99, but this process has 8"):
        make_layout(layout="pmap", devices=99)
    with pytest.raises(InputError, match=r"parallel.devices=-1"):
        make_layout(layout="pmap", devices=-1)


def test_unreplicate_inverts_device_put():
    layout = Pmap(tuple(jax.devices()[:2]))
    state = {"a": jnp.arange(6.0).reshape(2, 3), "step": jnp.zeros((), jnp.int32)}
    there = layout.device_put(state)
    assert there["a"].shape == (2, 2, 3)
    assert there["a"].sharding.device_set == set(layout.devices)
    back = layout.unreplicate(there)
    assert back["a"].devices() == {layout.devices[0]}
    assert back["step"].dtype == jnp.int32
    jax.tree.map(np.testing.assert_array_equal, back, state)


def test_a_compiled_step_gets_its_shard_and_donates_its_state():
    layout = Pmap(tuple(jax.devices()[:2]))
    step = layout.compile_step(lambda state, batch: (state + jax.lax.psum(batch, AXIS), jax.lax.psum(batch, AXIS)))
    state = layout.device_put(jnp.zeros(3))
    new, reported = step(state, np.array([[1, 2, 3], [10, 20, 30]], np.float32))
    assert state.is_deleted()
    assert np.asarray(new).tolist() == [[11, 22, 33]] * 2
    assert reported.tolist() == [11, 22, 33]


@pytest.mark.parametrize("count", [1, 2])
def test_device_put_and_a_step_give_the_same_sharding(count):
    """The axis name is equal too: otherwise the second step would compile again."""
    layout = make_layout(layout="pmap", devices=count)
    state = layout.device_put({"a": jnp.ones(3)})
    before = state["a"].sharding
    step = layout.compile_step(lambda state, batch: (state, jax.lax.psum(batch, AXIS)))
    after, _ = step(state, jnp.ones(count))
    assert before == after["a"].sharding
    assert state["a"].is_deleted()  # donated at the first step already
