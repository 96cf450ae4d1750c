"""Tests that all layouts agree on eight devices: losses, gradients, scores, and checkpoints between layouts."""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from naive import assert_close, make_params, one_bin, random_examples
from training.test_optimizer import GOOD

from rmjax.data.batch import BatchShape, Example, build_batch
from rmjax.data.packing import pack_rows, split_into_chunks
from rmjax.errors import InputError
from rmjax.models.config import TransformerConfig, default_head
from rmjax.models.reward import RewardTransformer
from rmjax.models.transformer import LanguageModel, parameter_shapes
from rmjax.parallel.layout import Pmap, make_layout
from rmjax.parallel.mesh import Sharded, describe
from rmjax.scoring.batched_forward import BatchedForward
from rmjax.scoring.checkpoint import load_tree, save_checkpoint
from rmjax.training.objectives import LossConfig, ranking_objective
from rmjax.training.optimizer import OptimizerConfig, make_optimizer
from rmjax.training.step import TrainState, init_state, make_eval_step, make_train_step

HEADS = ("helpful", "safety")
PLAIN = LossConfig()
RATE = 0.5
LAYOUTS = {
    "pmap": {"layout": "pmap"},
    "fsdp": {"layout": "fsdp"},
    "tensor": {"layout": "tensor"},
    "tensor of 2": {"layout": "tensor", "tensor": 2},
    "fsdp and tensor of 2": {"layout": "fsdp_tensor", "tensor": 2},
}


@pytest.fixture(scope="module")
def model():
    """Sizes are multiples of eight, except for the two key/value heads, which tensor parallelism splits."""
    trunk = TransformerConfig(
        vocab_size=304,
        width=16,
        layers=2,
        heads=4,
        kv_heads=2,
        head_dim=8,
        mlp_width=24,
        rope_theta=100.0,
        norm_eps=1e-5,
        tie_embeddings=False,
    )
    return RewardTransformer(trunk, default_head(HEADS, trunk), jnp.dtype("float32"))


@pytest.fixture(scope="module")
def params(model):
    """In NumPy, because a step donates the buffers of its state."""
    return jax.tree.map(np.asarray, make_params(model))


@pytest.fixture(scope="module")
def examples():
    return random_examples(11, seed=6, heads=2)


@pytest.fixture(scope="module")
def objective(model):
    return ranking_objective(lambda params, batch: model.apply({"params": params}, batch), PLAIN)


@pytest.fixture(scope="module")
def reference(objective, params, examples):
    """(loss, gradient) from all comparisons on one device, no prompt shared."""
    batch, _ = one_bin(examples, BatchShape(24, 32, 48, 48), share_prompts=False)
    (loss, sums), gradient = jax.jit(jax.value_and_grad(objective, has_aux=True))(params, batch)
    return float(loss / sums["weight"]), jax.tree.map(lambda g: g / sums["weight"], gradient)


def split_batch(examples, shards, microbatches, shape):
    """A batch [S, M, ...] whose first part holds two thirds of the comparisons and whose last ones may be empty."""
    parts = shards * microbatches
    cuts = [len(examples) - len(examples) // 3 ** (part + 1) for part in range(parts - 1)]
    bins = [
        pack_rows(
            [p for i in range(a, b) for p in split_into_chunks(i, examples[i], shape.row_length)], shape.row_length
        )
        for a, b in itertools.pairwise([0, *cuts, len(examples)])
    ]
    batch, _ = build_batch(examples, bins, shape)
    return jax.tree.map(lambda x: x.reshape(shards, microbatches, *x.shape[1:]), batch)


def assert_sgd_follows(reference, objective, params, layout, batch):
    loss, gradient = reference
    optimizer = optax.sgd(RATE)
    state = layout.device_put(init_state(params, optimizer))
    old = jax.tree.leaves(state)
    state, metrics = make_train_step(objective, optimizer, layout)(state, batch)
    assert all(leaf.is_deleted() for leaf in old)  # donated
    assert [leaf.sharding for leaf in jax.tree.leaves(state)] == [leaf.sharding for leaf in old]
    assert float(metrics["loss"]) == pytest.approx(loss, rel=1e-5)
    assert float(metrics["grad_norm"]) == pytest.approx(float(optax.tree.norm(gradient)), rel=1e-5)
    moved = jax.tree.map(lambda new, start: (start - np.asarray(new)) / RATE, layout.unreplicate(state).params, params)
    for here, there in zip(*map(jax.tree.leaves, (moved, gradient)), strict=True):
        np.testing.assert_allclose(here, there, rtol=0, atol=1e-5 * float(np.abs(there).max()) + 3e-7 / RATE)


@pytest.mark.parametrize("microbatches", [1, 2])
@pytest.mark.parametrize("name", LAYOUTS)
def test_an_sgd_step_is_equal_in_all_layouts(reference, objective, params, examples, name, microbatches):
    """Unequal shards and plain SGD show a gradient that is counted twice or not summed."""
    layout = make_layout(**LAYOUTS[name])
    assert len(layout.devices) == 8
    batch = split_batch(examples, layout.shards, microbatches, BatchShape(12, 32, 48, 48))
    assert_sgd_follows(reference, objective, params, layout, batch)


def test_block_sparse_attention_can_be_sharded(reference, objective, params, examples):
    layout = make_layout(layout="fsdp_tensor", devices=4, tensor=2)
    batch = split_batch(examples, layout.shards, 1, BatchShape(3, 128, 48, 48))
    assert_sgd_follows(reference, objective, params, layout, batch)


@pytest.mark.parametrize("name", LAYOUTS)
def test_evaluation_and_scores_are_equal_in_all_layouts(model, objective, reference, params, examples, name):
    layout = make_layout(**LAYOUTS[name])
    placed = layout.device_put(params)
    sums = make_eval_step(objective, layout)(
        placed, split_batch(examples, layout.shards, 2, BatchShape(12, 32, 48, 48))
    )
    assert float(sums["loss"] / sums["weight"]) == pytest.approx(reference[0], rel=1e-5)
    one = Pmap((jax.devices()[0],))
    unpaired = [Example(e.prompt, e.responses, e.head) for e in examples]
    scores, expected = (BatchedForward(model, x)(x.device_put(params), unpaired) for x in (layout, one))
    assert_close(np.concatenate(scores), np.concatenate(expected))


def test_parameters_and_moments_are_sharded(params):
    """Fully sharded over 4 x 2 devices: each holds an eighth of every matrix and of its moments."""
    layout = make_layout(layout="fsdp_tensor", tensor=2)
    optimizer, _ = make_optimizer(OPTIMIZER, 10)
    opt_state = layout.jit_init(optimizer.init, layout.device_put(params))
    moment = next(
        x for path, x in jax.tree_util.tree_leaves_with_path(opt_state) if "'down'" in jax.tree_util.keystr(path)
    )
    for kernel in (layout.device_put(params)["trunk"]["blocks"]["mlp"]["down"]["kernel"], moment):
        assert kernel.shape == (2, 24, 16)
        assert kernel.addressable_shards[0].data.shape == (2, 12, 4)
    found = describe(layout, {"trunk": {"blocks": {"mlp": {"down": {"kernel": jnp.zeros((2, 24000, 160))}}}}})
    assert found == "0.96 of 7.68 million parameters on each of 8 devices"


OPTIMIZER = OptimizerConfig(**{**GOOD, "warmup_ratio": 0.0})


def test_a_checkpoint_is_restored_in_other_layouts(reward_model, tokenizer, objective, params, examples, tmp_path):
    """Saves after two steps in one layout. One more step in each layout gives the same parameters, to rounding."""
    optimizer, _ = make_optimizer(OPTIMIZER, 10)

    def steps(layout, state, count):
        step = make_train_step(objective, optimizer, layout)
        batch = split_batch(examples, layout.shards, 1, BatchShape(12, 32, 48, 48))
        with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
            for _ in range(count):
                state, _ = step(state, batch)
        return state

    first = make_layout(layout="fsdp", devices=2)
    state = steps(first, first.device_put(init_state(params, optimizer)), 2)
    plain = first.unreplicate(state)
    saved = save_checkpoint(
        tmp_path,
        reward_model.contract,
        tokenizer,
        plain.params,
        {"step": plain.step, "opt_state": plain.opt_state},
        keep=1,
    )
    expected = jax.tree.map(np.asarray, first.unreplicate(steps(first, state, 1)).params)
    for settings in ({"layout": "pmap", "devices": 2}, {"layout": "fsdp_tensor", "devices": 4, "tensor": 2}):
        layout = make_layout(**settings)
        shapes = jax.eval_shape(lambda: init_state(params, optimizer))
        stored = load_tree(saved / "optimizer", {"step": shapes.step, "opt_state": shapes.opt_state}, layout=layout)
        restored = TrainState(
            stored["step"], load_tree(saved / "params", shapes.params, layout=layout), stored["opt_state"]
        )
        found = layout.unreplicate(steps(layout, layout.device_put(restored), 1))
        assert int(found.step) == 3
        jax.tree.map(assert_close, jax.tree.map(np.asarray, found.params), expected)


def test_every_parameter_of_every_kind_of_trunk_has_a_rule():
    layout = make_layout(layout="fsdp_tensor", tensor=2)
    for fields in (
        {},
        {
            "norm": "layer",
            "positions": "learned",
            "max_positions": 64,
            "query_bias": True,
            "out_bias": True,
            "mlp_bias": True,
            "gated": False,
        },
        {
            "causal": False,
            "norm": "layer",
            "norm_order": "post",
            "token_types": 2,
            "embedding_norm": True,
            "pooler": "tanh",
        },
        {"qk_norm": True, "norm_order": "both"},
    ):
        trunk = TransformerConfig(
            vocab_size=32,
            width=16,
            layers=2,
            heads=4,
            kv_heads=4,
            head_dim=4,
            mlp_width=16,
            rope_theta=1e4,
            norm_eps=1e-5,
            tie_embeddings=False,
            **fields,
        )
        for module in (
            RewardTransformer(trunk, default_head(HEADS, trunk), jnp.dtype("float32")),
            LanguageModel(trunk, jnp.dtype("float32")),
        ):
            layout.shardings(parameter_shapes(module))


def test_a_parameter_without_a_rule_is_refused():
    layout = make_layout(layout="fsdp")
    with pytest.raises(InputError, match="no rule lays out the parameter 'trunk/blocks/router/kernel'"):
        layout.shardings({"trunk": {"blocks": {"router": {"kernel": jnp.zeros((2, 4, 4))}}}})


def test_an_indivisible_axis_is_not_sharded_but_reported():
    layout = Sharded(tuple(jax.devices()), tensor=8, fsdp=False)
    params = {"trunk": {"embedding": {"embedding": jnp.zeros((50257, 16))}}}
    assert layout.shardings(params)["trunk"]["embedding"]["embedding"].is_fully_replicated
    assert describe(layout, params).endswith("whole on each: trunk/embedding/embedding")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layout": "pmap", "tensor": 2}, "parallel.tensor=2 means nothing"),
        ({"layout": "fsdp", "tensor": 2}, "parallel.tensor=2 means nothing"),
        ({"layout": "tensor", "tensor": 3}, r"divide the 8 device\(s\), found 3"),
        ({"layout": "fsdp_tensor"}, r"divide the 8 device\(s\), found 0"),
    ],
)
def test_an_invalid_tensor_axis_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        make_layout(**settings)


def test_fsdp_gathers_parameters_and_not_activations(model, objective, params, examples):
    """No array of the compiled step has the tokens of all shards: each device computes its own shard."""
    layout = make_layout(layout="fsdp")
    batch = split_batch(examples, 8, 1, BatchShape(12, 32, 48, 48))
    optimizer = optax.sgd(RATE)
    steps = []

    class Compiled(Sharded):
        def compile_step(self, step):
            steps.append(self.program(step))

    make_train_step(objective, optimizer, Compiled(layout.devices, layout.tensor, layout.fsdp))
    state = layout.device_put(init_state(params, optimizer))
    text = steps[0].lower(state, jax.device_put(batch, layout.by_shard)).compile().as_text()
    assert re.search(r"f32\[(1,)?12,32,16\]", text)  # the residual stream of one shard
    assert not re.search(r"f32\[8,12,32,(2|16|24)\]", text)
    assert re.search(r"all-gather", text)
