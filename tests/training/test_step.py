"""The training step: equal results on all layouts, and its loss by hand."""

import dataclasses
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from naive import assert_close, make_example, make_params, naive_scores, one_bin, random_examples

from rmjax.data.batch import BatchShape, build_batch
from rmjax.data.loader import BatchStream
from rmjax.data.packing import pack_rows, split_into_chunks
from rmjax.models.config import default_head
from rmjax.models.reward import RewardTransformer
from rmjax.parallel.layout import Pmap
from rmjax.training.objectives import LossConfig, ranking_objective
from rmjax.training.step import evaluate_stream, init_state, make_eval_step, make_train_step

HEADS = ("helpful", "safety")
SHAPE = BatchShape(12, 32, 48, 48)
PLAIN = LossConfig()
AUXILIARY = LossConfig(safety_coef=0.4)
RATE = 0.5


@pytest.fixture(scope="module")
def model(tiny_trunk):
    return RewardTransformer(tiny_trunk, default_head(HEADS, tiny_trunk), jnp.dtype("float32"))


@pytest.fixture(scope="module")
def params(model):
    return make_params(model)


@pytest.fixture(scope="module")
def loss_fn(model):
    return ranking_objective(lambda params, batch: model.apply({"params": params}, batch), PLAIN)


def small_scores(params, batch):
    """Scores [N, Z] that compile fast: what a step does with shards does not depend on the model."""
    hidden_NxD = jnp.tanh(params["embedding"][batch.tokens_RxL.reshape(-1)[batch.responses.score_index_N]])
    return hidden_NxD @ params["kernel"]


@pytest.fixture(scope="module")
def small_params():
    rng = np.random.default_rng(0)
    return {
        "embedding": jnp.asarray(rng.normal(size=(50, 8)), jnp.float32),
        "kernel": jnp.asarray(rng.normal(size=(8, len(HEADS))), jnp.float32),
    }


@pytest.fixture(scope="module")
def examples():
    """Eleven comparisons that weigh 1, and one whose pairs were all left out, which weighs 0."""
    return [*random_examples(11, seed=6, heads=2), make_example([3, 4], [[5, 2], [6, 7, 2]], pairs=[])]


@pytest.fixture(scope="module")
def reference(loss_fn, params, examples):
    """(loss, gradient) from all comparisons in one microbatch, no prompt shared."""
    batch, _ = one_bin(examples, SHAPE._replace(rows=24), share_prompts=False)
    (loss, sums), gradient = jax.jit(jax.value_and_grad(loss_fn, has_aux=True))(params, batch)
    return float(loss / sums["weight"]), jax.tree.map(lambda g: g / sums["weight"], gradient)


def dealt(examples, shards, microbatches):
    """A batch [S, M, ...] whose first part holds two thirds of the comparisons and whose last ones may be empty."""
    parts = shards * microbatches
    cuts = [len(examples) - len(examples) // 3 ** (part + 1) for part in range(parts - 1)]
    bounds = [0, *cuts, len(examples)]
    bins = []
    for start, stop in itertools.pairwise(bounds):
        pieces = [p for i in range(start, stop) for p in split_into_chunks(i, examples[i], SHAPE.row_length)]
        bins.append(pack_rows(pieces, SHAPE.row_length))
    batch, _ = build_batch(examples, bins, SHAPE)
    return jax.tree.map(lambda x: x.reshape(shards, microbatches, *x.shape[1:]), batch)


def test_the_naive_loss_is_the_mean_over_comparisons(tiny_trunk, params, examples, reference):
    """From NumPy scores: every comparison with pairs counts once, whatever its K and its head."""
    per_comparison = []
    for example, scores in zip(examples, naive_scores(params, tiny_trunk, HEADS, examples), strict=True):
        r = scores[:, example.head]
        terms = [math.log1p(math.exp(r[j] - r[i])) for i, j in zip(example.winner, example.loser, strict=True)]
        if terms:
            per_comparison.append(sum(terms) / len(terms))
    assert {len(e.responses) for e in examples} == {2, 3, 4}
    assert len(per_comparison) == 11
    assert reference[0] == pytest.approx(np.mean(per_comparison), rel=1e-6)


def test_the_packed_gradient_equals_that_of_repeated_prompts(loss_fn, params, examples, reference):
    batch, _ = one_bin(examples, SHAPE)
    (_, sums), gradient = jax.jit(jax.value_and_grad(loss_fn, has_aux=True))(params, batch)
    assert float(sums["weight"]) == pytest.approx(11.0)
    used = np.unique(batch.tokens_RxL)
    unused = np.setdiff1d(np.arange(len(params["trunk"]["embedding"]["embedding"])), used)
    for (path, packed), repeated in zip(
        jax.tree_util.tree_leaves_with_path(gradient), jax.tree.leaves(reference[1]), strict=True
    ):
        if "embedding" in jax.tree_util.keystr(path):  # the zeros of ids that do not occur would belittle its scale
            assert not np.asarray(packed)[unused].any()
            packed, repeated = packed[used], repeated[used]
        assert_close(packed / 11.0, repeated)


def assert_one_step_of_sgd_follows(loss, gradient, loss_fn, params, batch):
    shards = batch.tokens_RxL.shape[0]
    layout = Pmap(tuple(jax.devices()[:shards]))
    optimizer = optax.sgd(RATE)
    step = make_train_step(loss_fn, optimizer, layout)
    state = layout.device_put(init_state(params, optimizer))
    old = jax.tree.leaves(state)
    state, metrics = step(state, batch)
    assert all(leaf.is_deleted() for leaf in old)
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(params))
    assert float(metrics["loss"]) == pytest.approx(loss, rel=1e-5)
    assert float(metrics["grad_norm"]) == pytest.approx(float(optax.tree.norm(gradient)), rel=1e-5)
    local = layout.unreplicate(state)
    assert int(local.step) == 1
    expected = jax.tree.map(lambda start, g: start - RATE * g, params, gradient)
    for leaf, other, start in zip(*map(jax.tree.leaves, (local.params, expected, params)), strict=True):
        assert np.abs(leaf - start).max() > 1e-3
        np.testing.assert_allclose(leaf, other, rtol=0, atol=1e-5 * float(np.abs(leaf - start).max()) + 3e-7)
    for leaf in jax.tree.leaves(state.params):
        copies = np.asarray(leaf)
        assert (copies == copies[:1]).all()
    return metrics


@pytest.mark.parametrize(("shards", "microbatches"), [(1, 1), (2, 1), (8, 1), (1, 2), (1, 4), (2, 2), (8, 2)])
def test_one_step_of_sgd_is_the_same_on_any_layout(small_params, examples, shards, microbatches):
    """Unequal shards, plain SGD: a mean of means or a gradient counted once per device would show."""
    objective = ranking_objective(small_scores, PLAIN)
    whole, _ = one_bin(examples, SHAPE)
    (loss, sums), gradient = jax.value_and_grad(objective, has_aux=True)(small_params, whole)
    gradient = jax.tree.map(lambda g: g / sums["weight"], gradient)
    batch = dealt(examples, shards, microbatches)
    weights = batch.pairs.weight_P.sum(-1).ravel()
    assert shards * microbatches == 1 or weights.max() > 2 * weights.min()
    assert_one_step_of_sgd_follows(float(loss / sums["weight"]), gradient, objective, small_params, batch)


@pytest.mark.parametrize(("shards", "microbatches"), [(2, 1), (8, 1), (1, 4), (2, 2)])
def test_the_auxiliary_term_weighs_the_same_on_any_layout(small_params, examples, shards, microbatches):
    """Labels on a third of the comparisons: some parts have none, and one has labels but nothing to weigh them."""
    labelled = [
        dataclasses.replace(e, unsafe=np.arange(len(e.responses)) % 2 == 0) if i % 3 == 2 else e
        for i, e in enumerate(examples)
    ]
    objective = ranking_objective(small_scores, AUXILIARY)
    whole, _ = one_bin(labelled, SHAPE)
    (loss, sums), gradient = jax.value_and_grad(objective, has_aux=True)(small_params, whole)
    assert float(sums["auxiliary_weight"]) == pytest.approx(3)
    gradient = jax.tree.map(lambda g: g / sums["weight"], gradient)
    batch = dealt(labelled, shards, microbatches)
    weights = batch.responses.safety_weight_N.sum(-1).ravel()
    assert weights.min() < weights.max()
    metrics = assert_one_step_of_sgd_follows(float(loss / sums["weight"]), gradient, objective, small_params, batch)
    assert float(metrics["auxiliary"]) == pytest.approx(float(sums["auxiliary"]) / 3, rel=1e-5)


def test_one_step_of_a_transformer_follows_the_naive_gradient(loss_fn, params, examples, reference):
    assert_one_step_of_sgd_follows(*reference, loss_fn, params, dealt(examples, 2, 2))


def test_a_batch_without_any_pair_moves_nothing(small_params):
    layout = Pmap((jax.devices()[0],))
    optimizer = optax.sgd(RATE)
    examples = [make_example([3, 4], [[5, 2], [6, 7, 2]], pairs=[])]
    state, metrics = make_train_step(ranking_objective(small_scores, PLAIN), optimizer, layout)(
        layout.device_put(init_state(small_params, optimizer)), dealt(examples, 1, 1)
    )
    assert float(metrics["loss"]) == 0
    jax.tree.map(np.testing.assert_array_equal, layout.unreplicate(state).params, small_params)


def test_metrics_of_a_whole_stream_are_sums_over_weights(tiny_trunk, loss_fn, params, examples, reference):
    """Batches that weigh four, four and three: a mean of the batches' means would differ."""
    layout = Pmap(tuple(jax.devices()[:2]))
    stream = BatchStream(examples, batch_size=5, epochs=1, row_length=32, microbatches=2, shards=2, seed=0)
    result = evaluate_stream(make_eval_step(loss_fn, layout), layout.device_put(params), stream)
    assert result["loss"] == pytest.approx(reference[0], rel=1e-5)
    gaps = [
        scores[i, e.head] - scores[j, e.head]
        for e, scores in zip(examples, naive_scores(params, tiny_trunk, HEADS, examples), strict=True)
        for i, j in zip(e.winner, e.loser, strict=True)
    ]
    assert result["gap"] == pytest.approx(np.mean(gaps), rel=1e-5)
    assert result["accuracy"] == pytest.approx(np.mean(np.array(gaps) > 0), rel=1e-6)


@pytest.mark.parametrize(("shards", "microbatches"), [(1, 4), (2, 3)])
def test_measuring_in_microbatches_gives_the_sums_of_one(small_params, examples, shards, microbatches):
    eval_step = {
        n: make_eval_step(ranking_objective(small_scores, PLAIN), Pmap(tuple(jax.devices()[:n]))) for n in {1, shards}
    }
    layout = Pmap(tuple(jax.devices()[:shards]))
    whole = eval_step[1](Pmap((jax.devices()[0],)).device_put(small_params), dealt(examples, 1, 1))
    parts = eval_step[shards](layout.device_put(small_params), dealt(examples, shards, microbatches))
    assert whole.keys() == parts.keys()
    assert float(parts["weight"]) == pytest.approx(11.0)
    for name, value in whole.items():
        assert parts[name].shape == ()
        assert float(parts[name]) == pytest.approx(float(value), rel=1e-5)
