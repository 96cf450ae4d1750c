"""Tests of attention: the mask, block-sparse against dense attention, and rotary positions."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from naive import make_example, one_bin, random_examples

from rmjax.data.batch import BatchShape
from rmjax.data.packing import pack_rows, split_into_chunks
from rmjax.models.attention import apply_rotary, dense_attention, frequencies, fused_attention, rotary
from rmjax.models.block_sparse_attention import TILE, _tiles, block_sparse_attention
from rmjax.models.config import RopeScaling
from rmjax.models.mask import AttentionSpec, attention_mask, packed_context


def context_of(batch):
    return jax.tree.map(jnp.asarray, packed_context(batch))


def full_mask(batch, spec, *, local):
    """Returns the mask [R, L, L] of a batch."""
    context = context_of(batch)
    index = jnp.arange(context.segments.shape[1])[None]
    return attention_mask(
        context.as_queries(), context.as_keys(), index[:, :, None], index[:, None, :], jnp.asarray(local), spec
    )


def mask_lines(batch, spec, *, local=False):
    """Returns the mask of the first row, a line of text for every query."""
    mask = full_mask(batch, spec, local=local)
    return ["".join(".1"[int(x)] for x in row) for row in np.asarray(mask[0])]


def test_a_causal_token_sees_its_prompt_and_its_response_up_to_itself():
    """Prompt of 2, responses of 2 and 1, then a prompt of 1 with a response of 1, then padding."""
    batch, _ = one_bin(
        [make_example([9, 9], [[9, 9], [9]]), make_example([9], [[9], []], pairs=[])], BatchShape(1, 8, 8, 8)
    )
    assert mask_lines(batch, AttentionSpec(causal=True, window=0, cap=0.0))[:7] == [
        "1.......",
        "11......",
        "111.....",
        "1111....",
        "11..1...",
        ".....1..",
        ".....11.",
    ]


def test_an_encoder_token_sees_its_whole_text_only():
    """Responses of 2 and 1, each with a copy of a prompt of 1."""
    example = make_example([9], [[9, 9], [9]])
    batch, _ = one_bin([example], BatchShape(1, 6, 8, 8), share_prompts=False)
    spec = AttentionSpec(causal=False, window=0, cap=0.0)
    assert sorted(mask_lines(batch, spec)) == sorted(["111...", "111...", "111...", "...11.", "...11.", ".....1"])


def test_a_window_counts_positions_not_indices_in_the_row():
    """The first token of the second response follows the prompt, although the first response is between them."""
    batch, _ = one_bin([make_example([9, 9], [[9, 9], [9]])], BatchShape(1, 5, 8, 8))
    spec = AttentionSpec(causal=True, window=2, cap=0.0)
    assert mask_lines(batch, spec, local=True) == ["1....", "11...", ".11..", "..11.", ".1..1"]
    assert mask_lines(batch, spec, local=False) == ["1....", "11...", "111..", "1111.", "11..1"]


@pytest.mark.parametrize(
    ("spec", "local", "kv_heads"),
    [
        (AttentionSpec(causal=True, window=0, cap=0.0), False, 2),
        (AttentionSpec(causal=True, window=9, cap=0.0), True, 4),
        (AttentionSpec(causal=True, window=9, cap=5.0), False, 1),
        (AttentionSpec(causal=False, window=0, cap=0.0), False, 4),
    ],
)
def test_block_sparse_attention_equals_dense_attention(spec, local, kv_heads):
    """Values and gradients, for texts shorter and longer than a tile, rows of padding, and a half-empty last tile."""
    examples = random_examples(20, longest=90)
    pieces = [p for i, e in enumerate(examples) for p in split_into_chunks(i, e, 256, share_prompts=spec.causal)]
    rows = len(pack_rows(pieces, 256))
    batch, _ = one_bin(examples, BatchShape(rows + 1, 256, 80, 200), share_prompts=spec.causal)
    context, local = context_of(batch), jnp.asarray(local)
    assert not context.prompt_segments[-1].any()
    rng = np.random.default_rng(0)
    R, L = context.segments.shape
    q, k, v, g = (jnp.asarray(rng.normal(size=(R, L, n, 8)), jnp.float32) for n in (4, kv_heads, kv_heads, 4))
    real = (context.prompt_segments > 0).astype(jnp.float32)[..., None, None]

    def value_and_gradients(attend):
        out, back = jax.vjp(lambda *qkv: attend(*qkv, context, local, spec) * real, q * 8**-0.5, k, v)
        return out, *back(g)

    sparse, dense = value_and_gradients(block_sparse_attention), value_and_gradients(dense_attention)
    for actual, expected in zip(sparse, dense, strict=True):
        assert np.isfinite(np.asarray(actual)).all()
        # Sums over many keys and queries: a few values are large, and the rounding of float32 follows their size.
        assert float(jnp.abs(actual - expected).max()) <= 1e-5 * float(jnp.abs(expected).max())


@pytest.mark.skipif(jax.default_backend() != "gpu", reason="cuDNN needs a GPU")
@pytest.mark.parametrize(
    ("spec", "local", "kv_heads"),
    [
        (AttentionSpec(causal=True, window=0, cap=0.0), False, 4),
        (AttentionSpec(causal=True, window=9, cap=0.0), True, 2),
        (AttentionSpec(causal=False, window=0, cap=0.0), False, 1),
    ],
)
def test_fused_attention_equals_dense_attention(spec, local, kv_heads):
    """Values and gradients in bfloat16, against float32 with exact products; rows of padding give no NaN."""
    batch, _ = one_bin(random_examples(20, longest=90), BatchShape(32, 256, 80, 200), share_prompts=spec.causal)
    context, local = context_of(batch), jnp.asarray(local)
    rng = np.random.default_rng(0)
    R, L = context.segments.shape
    given = [jnp.asarray(rng.normal(size=(R, L, n, 64)), jnp.bfloat16) for n in (4, kv_heads, kv_heads, 4)]
    real = (context.prompt_segments > 0)[..., None, None]

    @functools.partial(jax.jit, static_argnums=(0, 1))
    def value_and_gradients(attend, dtype):
        q, k, v, g = (x.astype(dtype) for x in given)
        out, back = jax.vjp(lambda *qkv: attend(*qkv, context, local, spec) * real.astype(dtype), q / 8, k, v)
        return out, *back(g)

    with jax.default_matmul_precision("highest"):
        exact = value_and_gradients(dense_attention, jnp.float32)
    for actual, expected in zip(value_and_gradients(fused_attention, jnp.bfloat16), exact, strict=True):
        assert np.isfinite(np.asarray(actual, np.float32)).all()
        # bfloat16 has 8 bits: 2^-8 = 0.4 % of the largest weight or logit; several roundings follow one another.
        assert float(jnp.abs(actual.astype(jnp.float32) - expected).max()) <= 0.02 * float(jnp.abs(expected).max())


def test_block_sparse_attention_of_bfloat16_is_computed_in_float32():
    """Outputs are rounded once. The gradients of q and k also use the rounded output."""
    batch, _ = one_bin(random_examples(8, longest=90), BatchShape(1, 40 * TILE, 80, 200))
    context, local, spec = context_of(batch), jnp.asarray(False), AttentionSpec(causal=True, window=0, cap=0.0)
    rng = np.random.default_rng(0)
    narrow = [jnp.asarray(rng.normal(size=(1, 40 * TILE, n, 8)), jnp.bfloat16) for n in (4, 2, 2, 4)]

    @jax.jit
    def value_and_gradients(q, k, v, g):
        out, back = jax.vjp(lambda *qkv: block_sparse_attention(*qkv, context, local, spec), q, k, v)
        return out, *back(g)

    found = value_and_gradients(*narrow)
    exact = value_and_gradients(*(x.astype(jnp.float32) for x in narrow))
    assert {x.dtype for x in found} == {jnp.dtype("bfloat16")}
    (out, *gradients, dv), (exact_out, *exact_gradients, exact_dv) = found, exact
    for rounded, whole in ((out, exact_out), (dv, exact_dv)):
        np.testing.assert_allclose(rounded.astype(jnp.float32), whole, rtol=2**-8, atol=1e-6)
    for gradient, exact_gradient in zip(gradients, exact_gradients, strict=True):  # two roundings of up to 2^-9
        error = jnp.linalg.norm(gradient.astype(jnp.float32) - exact_gradient)
        assert float(error) <= 2**-8 * float(jnp.linalg.norm(exact_gradient))


def test_few_visited_tiles_are_fully_masked():
    """A prompt with 40 responses, among pairs: responses do not visit each other, forward or backward."""
    wide = make_example([9] * 100, [[9] * 70] * 40, pairs=[])
    batch, _ = one_bin([*random_examples(8, longest=200), wide], BatchShape(1, 120 * TILE, 128, 256))
    spec, context = AttentionSpec(causal=True, window=0, cap=0.0), context_of(batch)
    tiles = _tiles(context, jnp.asarray(False), spec)
    mask = np.asarray(full_mask(batch, spec, local=False))[0]
    mask = mask & (np.asarray(context.prompt_segments) > 0).reshape(-1, 1)
    needed = {(int(i), int(j)) for i, j in np.argwhere(mask.reshape(120, TILE, 120, TILE).any((1, 3)))}
    spans = [np.asarray(x) for x in (tiles.prompts, tiles.keys, tiles.queries)]
    forwards = [(i, j) for i in range(120) for span in spans[:2] for j in range(*span[i])]
    backwards = [(i, j) for j in range(120) for i in range(*spans[2][j])]
    for visited in (forwards, backwards):
        assert len(set(visited)) == len(visited)
        assert needed <= set(visited)
        assert len(visited) < 1.1 * len(needed) < 0.2 * 120 * 121 / 2


def test_rotary_products_depend_on_the_distance_only(tiny_trunk):
    config = dataclasses.replace(tiny_trunk, head_dim=8, rope_theta=10000.0)
    rng = np.random.default_rng(0)
    q, k = (jnp.asarray(rng.normal(size=(1, 1, 1, 8)), jnp.float32) for _ in range(2))

    def product(at_q, at_k):
        angles = [rotary(jnp.full((1, 1), position, jnp.int32), config) for position in (at_q, at_k)]
        return float(jnp.sum(apply_rotary(q, *angles[0]) * apply_rotary(k, *angles[1])))

    assert product(9, 4) == pytest.approx(product(5, 0), abs=1e-5)
    assert product(9, 4) != pytest.approx(product(9, 5), abs=1e-2)


def test_rotary_positions_may_use_part_of_the_channels(tiny_trunk):
    config = dataclasses.replace(tiny_trunk, head_dim=8, rotary_dim=2)
    x = jnp.arange(8, dtype=jnp.float32)[None, None, None, :]
    rotated = np.asarray(apply_rotary(x, *rotary(jnp.full((1, 1), 1, jnp.int32), config)))[0, 0, 0]
    assert rotated[:2] == pytest.approx([-math.sin(1), math.cos(1)], abs=1e-6)
    assert rotated[2:].tolist() == [2, 3, 4, 5, 6, 7]


def test_rope_scaling_changes_long_wavelengths_only(tiny_trunk):
    """Wavelengths of 2 pi, 2 pi 10 and 2 pi 100 tokens in a context of 2 pi 40: 40, 4 and 0.4 cycles."""
    scaling = RopeScaling(factor=8.0, low=1.0, high=7.0, original_positions=round(2 * math.pi * 40))
    config = dataclasses.replace(tiny_trunk, head_dim=6, rope_theta=1000.0)
    assert np.asarray(frequencies(config)) == pytest.approx([1, 0.1, 0.01])
    half = 0.5 + 0.5 / 8  # 4 cycles are halfway between 1 and 7
    scaled = frequencies(dataclasses.replace(config, rope_scaling=scaling))
    assert np.asarray(scaled) == pytest.approx([1, 0.1 * half, 0.01 / 8], rel=1e-2)
    interpolated = frequencies(dataclasses.replace(config, rope_scaling=RopeScaling(factor=4.0)))
    assert np.asarray(interpolated) == pytest.approx([0.25, 0.025, 0.0025])
