"""Time and memory of the attention of packed rows: whole squares, tiles (CPU) and cuDNN (GPU).

    python benchmarks/attention.py --lengths=512,2048 --dtype=bfloat16

Rows are full of comparisons: a prompt of 128 tokens and two responses of 64. A reading is one forward and backward pass
of one layer over --tokens tokens. Time is the median over --rounds. Memory is that of the compiled program's
intermediate arrays. The error is the largest difference of an output or gradient from whole squares in float32 with
exact products, as a share of the largest value of that array.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from harness import markdown
from jax import Array

from rmjax.models.attention import dense_attention, fused_attention
from rmjax.models.block_sparse_attention import block_sparse_attention
from rmjax.models.mask import AttentionSpec, TokenContext

PROMPT, RESPONSE = 128, 64
Attend = Callable[[Array, Array, Array], Array]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", default="512,2048", help="tokens of a row; multiples of 256")
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--heads", type=int, default=16)
    parser.add_argument("--kv_heads", type=int, default=16)
    parser.add_argument("--head_dim", type=int, default=64)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    print(f"{jax.devices()[0].device_kind}, {arguments.dtype}, jax {jax.__version__}")
    rows = []
    for length in map(int, arguments.lengths.split(",")):
        rows += compare(arguments, length)
    print(markdown(rows))


def compare(arguments: argparse.Namespace, length: int) -> list[dict[str, str]]:
    """Returns the rows of the table for one row length."""
    count = max(arguments.tokens // length, 1)
    context = packed_rows(count, length)
    spec, local = AttentionSpec(causal=True, window=0, cap=0.0), jnp.asarray(False)
    keys = jax.random.split(jax.random.key(0), 4)
    heads = (arguments.heads, arguments.kv_heads, arguments.kv_heads, arguments.heads)
    arrays = [
        jax.random.normal(key, (count, length, n, arguments.head_dim), jnp.float32)
        for key, n in zip(keys, heads, strict=True)
    ]
    arrays[0] = arrays[0] * arguments.head_dim**-0.5

    def both_passes(attend: Callable[..., Array]) -> Callable[..., tuple[Array, ...]]:
        def passes(q: Array, k: Array, v: Array, d_out: Array) -> tuple[Array, ...]:
            out, back = jax.vjp(lambda q, k, v: attend(q, k, v, context, local, spec), q, k, v)
            return out, *back(d_out)

        return passes

    given = [x.astype(arguments.dtype) for x in arrays]
    with jax.default_matmul_precision("highest"):
        exact = jax.jit(both_passes(dense_attention))(*(x.astype(jnp.float32) for x in given))
    contenders: dict[str, Callable[..., Array]] = {"whole squares": dense_attention}
    if jax.default_backend() == "cpu":
        contenders["tiles"] = block_sparse_attention
    if jax.default_backend() == "gpu" and arguments.dtype in ("bfloat16", "float16"):
        contenders["cuDNN"] = fused_attention
    table = []
    for name, attend in contenders.items():
        program = jax.jit(both_passes(attend)).lower(*given).compile()
        found = program(*given)
        errors = [
            float(jnp.abs(a.astype(jnp.float32) - b).max() / jnp.abs(b).max())
            for a, b in zip(found, exact, strict=True)
        ]
        seconds = []
        for _ in range(arguments.rounds):
            began = time.perf_counter()
            jax.block_until_ready(program(*given))
            seconds.append(time.perf_counter() - began)
        table.append(
            {
                "rows": f"{count} x {length}",
                "attention": name,
                "ms": f"{1000 * np.median(seconds):.2f}",
                "memory, MB": f"{program.memory_analysis().temp_size_in_bytes / 1e6:.0f}",
                "largest error": f"{max(errors):.1e}",
            }
        )
    return table


def packed_rows(rows: int, length: int) -> TokenContext:
    """Returns the context of full rows of comparisons, `[rows, length]` each."""
    segments, prompts, positions = [], [], []
    for start in range(0, length, PROMPT + 2 * RESPONSE):
        first = 3 * start // (PROMPT + 2 * RESPONSE) + 1
        segments += [first] * PROMPT + [first + 1] * RESPONSE + [first + 2] * RESPONSE
        prompts += [first] * (PROMPT + 2 * RESPONSE)
        positions += [*range(PROMPT), *range(PROMPT, PROMPT + RESPONSE), *range(PROMPT, PROMPT + RESPONSE)]
    return TokenContext(
        *(jnp.broadcast_to(jnp.asarray(x, jnp.int32), (rows, length)) for x in (segments, prompts, positions))
    )


if __name__ == "__main__":
    main()
