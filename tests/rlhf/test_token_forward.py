"""Values of the tokens of responses, from packed batches on any devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from naive import random_examples

from rmjax.parallel.layout import Pmap
from rmjax.parallel.mesh import Sharded
from rmjax.rlhf.token_forward import TokenForward


def ids_and_positions(params, batch):
    """[R, L, 2]: id times a parameter, and position."""
    tokens, positions = (jnp.asarray(x, jnp.float32) for x in (batch.tokens_RxL, batch.positions_RxL))
    return jnp.stack([tokens * params["factor"], positions], -1)


@pytest.mark.parametrize("layout", ["one", "pmap", "fsdp"])
def test_values_come_back_in_the_order_of_the_responses(layout):
    devices = tuple(jax.devices()[:4])
    chosen = {"one": Pmap(devices[:1]), "pmap": Pmap(devices), "fsdp": Sharded(devices, tensor=2, fsdp=True)}[layout]
    examples = random_examples(23, seed=4)
    found = TokenForward(ids_and_positions, chosen)(chosen.device_put({"factor": jnp.float32(0.5)}), examples)
    expected = [np.stack([ids / 2, len(e.prompt) + np.arange(len(ids))], -1) for e in examples for ids in e.responses]
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
