"""A NumPy float64 reference of the packed forward pass: every (prompt, response) separately.

Also the random parameters and comparisons that the tests share.
"""

import jax
import jax.numpy as jnp
import numpy as np

from rmjax.data.batch import BatchShape, Example, build_batch
from rmjax.data.packing import pack_rows, split_into_chunks


def rms_norm(x, scale, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * scale


def rotary(x, theta):
    """Turns channel c and c + C/2 of token t by the angle t * theta^(-2c/C); x is [T, C]."""
    T, C = x.shape
    out = np.empty_like(x)
    for t in range(T):
        for c in range(C // 2):
            angle = t * theta ** (-2 * c / C)
            a, b = x[t, c], x[t, c + C // 2]
            out[t, c] = a * np.cos(angle) - b * np.sin(angle)
            out[t, c + C // 2] = a * np.sin(angle) + b * np.cos(angle)
    return out


def attention(x, layer, config):
    """One head after the other; query head h reads key/value head h // (H / G)."""
    T, C = len(x), config.head_dim
    mixed = []
    for h in range(config.heads):
        g = h // (config.heads // config.kv_heads)
        q = rotary(x @ layer["query"]["kernel"][:, h * C : (h + 1) * C], config.rope_theta)
        k = rotary(x @ layer["key"]["kernel"][:, g * C : (g + 1) * C], config.rope_theta)
        v = x @ layer["value"]["kernel"][:, g * C : (g + 1) * C]
        logits = q @ k.T / np.sqrt(C)
        logits[np.triu_indices(T, 1)] = -np.inf
        weights = np.exp(logits - logits.max(-1, keepdims=True))
        mixed.append(weights / weights.sum(-1, keepdims=True) @ v)
    return np.concatenate(mixed, -1) @ layer["out"]["kernel"]


def hidden_states(trunk, config, ids):
    """ids [T] -> the hidden states [T, D] of one separate sequence."""
    trunk = jax.tree.map(lambda x: np.asarray(x, np.float64), trunk)
    x = trunk["embedding"]["embedding"][ids]
    for i in range(config.layers):
        layer = jax.tree.map(lambda stacked, i=i: stacked[i], trunk["blocks"])
        x = x + attention(rms_norm(x, layer["attention_norm"]["scale"], config.norm_eps), layer["attention"], config)
        normed = rms_norm(x, layer["mlp_norm"]["scale"], config.norm_eps)
        gate, up = normed @ layer["mlp"]["gate"]["kernel"], normed @ layer["mlp"]["up"]["kernel"]
        x = x + (gate / (1 + np.exp(-gate)) * up) @ layer["mlp"]["down"]["kernel"]
    return rms_norm(x, trunk["norm"]["scale"], config.norm_eps)


def naive_scores(params, config, heads, examples):
    """Scores [K, Z] of every example: each response after its own copy of the prompt, read at its last token."""
    kernel = np.stack([np.asarray(params["reward"][head], np.float64) for head in heads], axis=1)
    return [
        np.stack([hidden_states(params["trunk"], config, np.concatenate([e.prompt, r]))[-1] for r in e.responses])
        @ kernel
        for e in examples
    ]


def make_params(module, seed=0):
    """Random parameters of `module`: norm scales around 1, everything else with variance 1 / inputs."""
    batch, _ = one_bin([], BatchShape(1, 4, 1, 1))
    rng = np.random.default_rng(seed)

    def draw(path, x):
        if "scale" in jax.tree_util.keystr(path):
            return jnp.asarray(1 + 0.3 * rng.normal(size=x.shape), x.dtype)
        if not x.ndim:
            return jnp.asarray(rng.normal(), x.dtype)
        inputs = x.shape[-2] if x.ndim > 1 and "embedding" not in jax.tree_util.keystr(path) else x.shape[-1]
        return jnp.asarray(rng.normal(size=x.shape) / np.sqrt(inputs), x.dtype)

    return jax.tree_util.tree_map_with_path(draw, jax.eval_shape(module.init, jax.random.key(0), batch)["params"])


def make_example(prompt, responses, head=0, pairs=None, **fields):
    """An Example whose response i beats response j for every (i, j) in `pairs`; by default for all i < j."""
    K = len(responses)
    pairs = [(i, j) for i in range(K) for j in range(i + 1, K)] if pairs is None else pairs
    return Example(
        np.array(prompt, np.int32),
        tuple(np.array(response, np.int32) for response in responses),
        head=head,
        winner=np.array([i for i, _ in pairs], np.int32),
        loser=np.array([j for _, j in pairs], np.int32),
        **{
            "tied": np.zeros(len(pairs), bool),
            "margin": np.zeros(len(pairs), np.float32),
            "weight": np.full(len(pairs), 1 / max(1, len(pairs)), np.float32),
            **fields,
        },
    )


def random_examples(count, seed=0, *, vocab=50, heads=1, longest=7, most=4):
    """Comparisons of 2 to `most` responses; prompts and responses of 1 to `longest` tokens."""
    rng = np.random.default_rng(seed)

    def ids():
        return rng.integers(1, vocab, rng.integers(1, longest + 1))

    return [
        make_example(ids(), [ids() for _ in range(rng.integers(2, most + 1))], head=int(rng.integers(heads)))
        for _ in range(count)
    ]


def one_bin(examples, shape, *, share_prompts=True):
    """(batch without the block axis, slots): all examples packed into one block."""
    pieces = [
        p
        for i, e in enumerate(examples)
        for p in split_into_chunks(i, e, shape.row_length, share_prompts=share_prompts)
    ]
    batch, slots = build_batch(examples, [pack_rows(pieces, shape.row_length)], shape)
    return jax.tree.map(lambda x: x[0], batch), slots[0]


def by_example(scores_NxZ, slots, examples):
    """Scores [N, Z] in slots -> [K, Z] of every example."""
    found = {slot: np.asarray(scores_NxZ)[n] for n, slot in enumerate(slots)}
    return [np.stack([found[i, k] for k in range(len(e.responses))]) for i, e in enumerate(examples)]


def assert_close(actual, expected, tolerance=1e-5):
    """The largest difference is at most `tolerance` times the standard deviation of the expected values."""
    actual, expected = (np.concatenate([np.asarray(x).ravel() for x in jax.tree.leaves(v)]) for v in (actual, expected))
    assert actual.shape == expected.shape
    spread = np.std(expected)
    assert spread > 1e-3, "the values hardly differ: nothing would be tested"
    assert np.max(np.abs(actual - expected)) <= tolerance * spread
