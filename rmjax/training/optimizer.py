"""AdamW with warm-up, cosine decay and clipping."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from rmjax.errors import InputError


def make_schedule(
    *, total_steps: int, learning_rate: float, warmup_ratio: float, warmup_steps: int, final_ratio: float
) -> optax.Schedule:
    """Linear warm-up, then cosine decay to `final_ratio` of the peak at the last step.

    The warm-up takes `warmup_ratio` of the run but at least `warmup_steps` (Llama 2: 3 % and 5 steps), and never more
    than half of it.
    """
    warmup = min(max(round(warmup_ratio * total_steps), warmup_steps), total_steps // 2)
    # The last step has the index total_steps - 1.
    decay = optax.cosine_decay_schedule(learning_rate, max(1, total_steps - 1 - warmup), alpha=final_ratio)
    if warmup == 0:
        return decay
    # Step 0 already moves: a first step at rate zero would be a batch seen for nothing.
    rise = optax.linear_schedule(learning_rate / (warmup + 1), learning_rate, warmup)
    return optax.join_schedules([rise, decay], [warmup])


def make_optimizer(
    *,
    total_steps: int,
    learning_rate: float,
    warmup_ratio: float,
    warmup_steps: int,
    final_ratio: float,
    b1: float,
    b2: float,
    eps: float,
    weight_decay: float,
    clip_norm: float,
    moment_dtype: str,
) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """AdamW (Loshchilov & Hutter 1711.05101) behind a clip of the global gradient norm, and its schedule.

    Norm scales are not decayed. The moments are computed in float32 and kept in `moment_dtype`. Every
    argument is a field of the configuration; there is no default to forget.

    Raises:
        InputError: a setting outside its range.
    """
    for name, value, good in (
        ("learning_rate", learning_rate, learning_rate > 0),
        ("warmup_ratio", warmup_ratio, 0 <= warmup_ratio <= 0.5),
        ("warmup_steps", warmup_steps, warmup_steps >= 0),
        ("final_ratio", final_ratio, 0 <= final_ratio <= 1),
        ("b1", b1, 0 <= b1 < 1),
        ("b2", b2, 0 <= b2 < 1),
        ("eps", eps, eps > 0),
        ("weight_decay", weight_decay, weight_decay >= 0),
        ("clip_norm", clip_norm, clip_norm > 0),
    ):
        if not good:
            raise InputError(f"optimizer.{name}={value} is out of range")
    if moment_dtype not in ("float32", "bfloat16"):
        raise InputError(f"optimizer.moment_dtype must be float32 or bfloat16, found {moment_dtype!r}")
    if moment_dtype == "bfloat16" and max(b1, b2) > 0.99:
        # A moment m moves by (1 - b) * (x - m), and bfloat16 rounds away what is under m / 512.
        raise InputError(
            f"optimizer.moment_dtype=bfloat16 loses the steps of a moment with b1={b1}, b2={b2}: it needs at most 0.99"
        )
    schedule = make_schedule(
        total_steps=total_steps,
        learning_rate=learning_rate,
        warmup_ratio=warmup_ratio,
        warmup_steps=warmup_steps,
        final_ratio=final_ratio,
    )
    adamw = optax.adamw(schedule, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay, mask=decayed)
    if moment_dtype != "float32":
        adamw = store_state_in(adamw, jnp.dtype(moment_dtype))
    # Asked for one rate at a time, for the log, it would otherwise be a dozen programs to compile.
    return optax.chain(optax.clip_by_global_norm(clip_norm), adamw), jax.jit(schedule)


def store_state_in(optimizer: optax.GradientTransformation, dtype: jnp.dtype) -> optax.GradientTransformation:
    """The optimizer with the arrays of its state kept in `dtype` between steps, and float32 within them."""

    def cast(state: optax.OptState, to: jnp.dtype) -> optax.OptState:
        return jax.tree.map(lambda x: x.astype(to) if x.ndim and jnp.issubdtype(x.dtype, jnp.floating) else x, state)

    def update(
        grads: optax.Updates, state: optax.OptState, params: optax.Params
    ) -> tuple[optax.Updates, optax.OptState]:
        updates, state = optimizer.update(grads, cast(state, jnp.dtype("float32")), params)
        return updates, cast(state, dtype)

    return optax.GradientTransformation(lambda params: cast(optimizer.init(params), dtype), update)


def decayed(params: optax.Params) -> optax.Params:
    """Which parameters weight decay applies to: all but the scales of norms."""
    from jax.tree_util import DictKey, tree_map_with_path

    return tree_map_with_path(lambda path, _: path[-1] != DictKey("scale") or path[0] == DictKey("reward"), params)
