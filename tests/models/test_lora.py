"""Low-rank adapters: their arithmetic, what a step trains, and merged weights."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from naive import make_params, one_bin, random_examples

from rmjax.data.batch import BatchShape
from rmjax.errors import InputError
from rmjax.models.config import config_from_json, default_head
from rmjax.models.linear import Linear
from rmjax.models.lora import Lora, is_adapter, is_frozen, join, merge, split, without_adapters
from rmjax.models.reward import RewardTransformer
from rmjax.models.transformer import LanguageModel
from rmjax.parallel.layout import make_layout
from rmjax.training.objectives import LossConfig, ranking_objective
from rmjax.training.step import init_state, make_train_step

LORA = Lora(rank=3, alpha=6.0, targets=("query", "value", "down"))
HEADS = ("helpful", "safety")
F32 = jnp.dtype("float32")


def reward_model(trunk, lora=LORA):
    trunk = dataclasses.replace(trunk, lora=lora)
    return RewardTransformer(trunk, default_head(HEADS, trunk), F32)


def paths(tree):
    return [
        jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in jax.tree_util.tree_leaves_with_path(tree)
    ]


@pytest.fixture(scope="module")
def params(tiny_trunk):
    """Random numbers everywhere, also in the adapters, which would begin without effect."""
    return make_params(reward_model(tiny_trunk))


@pytest.fixture(scope="module")
def batch():
    return one_bin(random_examples(8, seed=3, heads=2), BatchShape(12, 32, 48, 48))[0]


def test_a_linear_map_with_adapters_by_hand():
    x, kernel = jnp.array([[1.0, 2.0]]), jnp.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    a, b = jnp.array([[1.0], [1.0]]), jnp.array([[0.0, 10.0, 100.0]])
    layer = Linear(3, F32, lora=Lora(1, 2.0, ("up",)), name="up")
    out = layer.apply({"params": {"kernel": kernel, "lora_a": a, "lora_b": b}}, x)
    np.testing.assert_array_equal(out, [[1, 2 + 60, 600]])  # alpha / rank * (x @ a) = 2 * 3


def test_only_targets_have_adapters(params):
    found = {path for path in paths(params) if is_adapter(path)}
    layers = ("attention/query", "attention/value", "mlp/down")
    assert found == {f"trunk/blocks/{layer}/lora_{leaf}" for layer in layers for leaf in "ab"}


def test_new_adapters_have_no_effect(tiny_trunk, batch):
    plain, adapted = reward_model(tiny_trunk, None), reward_model(tiny_trunk)
    params = jax.tree.map(jnp.asarray, make_params(plain))
    fresh = adapted.init(jax.random.key(0), batch)["params"]
    assert np.any(fresh["trunk"]["blocks"]["attention"]["query"]["lora_a"])
    adapters = {path for path in paths(fresh) if is_adapter(path)}
    with_adapters = join(params, split(fresh)[0] | {"reward": params["reward"]})
    assert set(paths(with_adapters)) - set(paths(params)) == adapters
    np.testing.assert_array_equal(
        adapted.apply({"params": with_adapters}, batch), plain.apply({"params": params}, batch)
    )


@pytest.mark.parametrize("kind", [RewardTransformer, LanguageModel])
def test_merged_weights_give_the_same_output(tiny_trunk, batch, kind):
    def module(lora):
        trunk = dataclasses.replace(tiny_trunk, lora=lora)
        return LanguageModel(trunk, F32) if kind is LanguageModel else reward_model(tiny_trunk, lora)

    adapted = make_params(module(LORA))
    merged = merge(adapted, LORA)
    expected = module(LORA).apply({"params": adapted}, batch)
    np.testing.assert_allclose(module(None).apply({"params": merged}, batch), expected, rtol=1e-4, atol=1e-5)
    without = module(None).apply({"params": without_adapters(adapted)}, batch)
    assert np.abs(without - expected).max() > 0.1  # the adapters matter


@pytest.mark.parametrize("name", ["pmap", "fsdp", "tensor"])
def test_a_step_moves_adapters_and_heads_by_their_gradients(tiny_trunk, params, batch, name):
    """By those of the whole model, whose frozen part is not used."""
    model = reward_model(tiny_trunk)
    objective = ranking_objective(lambda params, batch: model.apply({"params": params}, batch), LossConfig())
    (_, sums), gradient = jax.value_and_grad(objective, has_aux=True)(params, batch)
    layout, rate = make_layout(layout=name, devices=2), 0.5
    stacked = jax.tree.map(lambda x: jnp.stack([x, jnp.zeros_like(x)])[:, None], batch)
    if name == "tensor":
        stacked = jax.tree.map(lambda x: x[:1], stacked)
    optimizer = optax.chain(optax.trace(decay=0.9), optax.scale(-rate))
    state = layout.device_put(init_state(jax.tree.map(np.asarray, params), optimizer))
    assert paths(state.opt_state[0].trace) == [path for path in paths(params) if not is_frozen(path)]
    state, _ = make_train_step(objective, optimizer, layout)(state, stacked)
    moved = layout.unreplicate(state).params
    for path, old, new, by in zip(paths(params), *map(jax.tree.leaves, (params, moved, gradient)), strict=True):
        step = np.zeros_like(old) if is_frozen(path) else rate * np.asarray(by) / float(sums["weight"])
        np.testing.assert_allclose(np.asarray(old) - np.asarray(new), step, atol=2e-5, err_msg=path)
        assert is_frozen(path) or np.any(step), path


def test_frozen_parameters_keep_their_dtype_and_their_bits(tiny_trunk, params, batch, one_device):
    model = reward_model(tiny_trunk)
    objective = ranking_objective(lambda params, batch: model.apply({"params": params}, batch), LossConfig())
    trained, frozen = split(params)
    half = jax.tree.map(lambda x: x.astype(jnp.bfloat16), frozen)
    state = one_device.device_put(init_state(join(trained, jax.tree.map(jnp.copy, half)), optax.sgd(0.1)))
    with jax.numpy_dtype_promotion("standard"):
        state, _ = make_train_step(objective, optax.sgd(0.1), one_device)(
            state, jax.tree.map(lambda x: x[None, None], batch)
        )
    now = split(one_device.unreplicate(state).params)
    jax.tree.map(np.testing.assert_array_equal, now[1], half)
    assert {x.dtype for x in jax.tree.leaves(now[1])} == {jnp.dtype("bfloat16")}
    assert {x.dtype for x in jax.tree.leaves(now[0])} == {F32}


def test_split_and_join_are_inverse(params, tiny_trunk):
    trained, frozen = split(params)
    assert trained.keys() == {"trunk", "reward"}
    assert all(map(is_frozen, paths(frozen)))
    jax.tree.map(np.testing.assert_array_equal, join(trained, frozen), params)
    plain = make_params(reward_model(tiny_trunk, None))
    assert split(plain) == (plain, {})


def test_settings_survive_json(tiny_trunk):
    trunk = dataclasses.replace(tiny_trunk, lora=LORA)
    record = dataclasses.asdict(trunk)
    record["lora"]["targets"] = list(record["lora"]["targets"])
    assert config_from_json(record) == trunk
    del record["lora"]  # a checkpoint of an earlier version
    assert config_from_json(record) == tiny_trunk


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"rank": 0}, "lora.rank must be a positive whole number"),
        ({"rank": 2.5}, "lora.rank must be a positive whole number"),
        ({"alpha": float("nan")}, "lora.alpha must be a finite number above 0"),
        ({"targets": ("q_proj",)}, "lora.targets must name linear maps of a block, each once .*found q_proj"),
        ({"targets": ("up", "up")}, "each once"),
        ({"targets": ()}, "found none"),
    ],
)
def test_settings_out_of_range(wrong, sentence):
    with pytest.raises(InputError, match=sentence):
        Lora(**{"rank": 4, "alpha": 8.0, "targets": ("up",), **wrong})
