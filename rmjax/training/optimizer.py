"""AdamW with warm-up, cosine decay and gradient clipping."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import optax

from rmjax.errors import InputError

DTYPES = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Settings of the optimizer and its schedule; none has a default.

    Attributes:
        learning_rate: its peak.
        warmup_ratio: share of the steps with a rising rate.
        warmup_steps: the least number of steps with a rising rate.
        final_ratio: rate of the last step / peak.
        b1: decay of the first moment.
        b2: decay of the second moment.
        eps: epsilon of AdamW.
        weight_decay: decoupled weight decay.
        clip_norm: largest global norm of the gradient.
        moment_dtype: dtype of the stored moments, float32 or bfloat16.
    """

    learning_rate: float
    warmup_ratio: float
    warmup_steps: int
    final_ratio: float
    b1: float
    b2: float
    eps: float
    weight_decay: float
    clip_norm: float
    moment_dtype: str

    def __post_init__(self) -> None:
        for name, good in (
            ("learning_rate", self.learning_rate > 0),
            ("warmup_ratio", 0 <= self.warmup_ratio <= 0.5),
            ("warmup_steps", self.warmup_steps >= 0),
            ("final_ratio", 0 <= self.final_ratio <= 1),
            ("b1", 0 <= self.b1 < 1),
            ("b2", 0 <= self.b2 < 1),
            ("eps", self.eps > 0),
            ("weight_decay", self.weight_decay >= 0),
            ("clip_norm", self.clip_norm > 0),
        ):
            if not good:
                raise InputError(f"{name}={getattr(self, name)} is out of range")
        if self.moment_dtype not in DTYPES:
            raise InputError(f"moment_dtype must be one of {', '.join(DTYPES)}, found {self.moment_dtype!r}")
        if self.moment_dtype == "bfloat16" and max(self.b1, self.b2) > 0.99:
            # A moment m moves by (1 - b) * (x - m), and bfloat16 rounds away what is under m / 512.
            raise InputError(
                f"moment_dtype=bfloat16 loses the steps of a moment with b1={self.b1}, b2={self.b2}: it needs at most "
                "0.99"
            )


def make_schedule(config: OptimizerConfig, total_steps: int) -> optax.Schedule:
    """Returns the learning rate by step: linear warm-up, then cosine decay to `final_ratio` of the peak.

    The warm-up takes `warmup_ratio` of the run but at least `warmup_steps` (Llama 2: 3 % and 5 steps), and never more
    than half of it.
    """
    warmup = min(max(round(config.warmup_ratio * total_steps), config.warmup_steps), total_steps // 2)
    # The last step has the index total_steps - 1.
    steps = max(1, total_steps - 1 - warmup)
    decay = optax.cosine_decay_schedule(config.learning_rate, steps, alpha=config.final_ratio)
    if warmup == 0:
        return decay
    # Step 0 already moves: a first step at rate zero would waste its batch.
    rise = optax.linear_schedule(config.learning_rate / (warmup + 1), config.learning_rate, warmup)
    return optax.join_schedules([rise, decay], [warmup])


def make_optimizer(config: OptimizerConfig, total_steps: int) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """Returns AdamW (Loshchilov & Hutter 1711.05101) after a clip of the global gradient norm, and its schedule.

    Norm scales are not decayed. The moments are computed in float32 and stored in `moment_dtype`.
    """
    schedule = make_schedule(config, total_steps)
    adamw = optax.adamw(
        schedule, b1=config.b1, b2=config.b2, eps=config.eps, weight_decay=config.weight_decay, mask=decayed
    )
    if config.moment_dtype != "float32":
        adamw = store_state_in(adamw, jnp.dtype(config.moment_dtype))
    # Compiled as one program: evaluated one rate at a time, for the log, it would otherwise be a dozen programs.
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), adamw), jax.jit(schedule)


def store_state_in(optimizer: optax.GradientTransformation, dtype: jnp.dtype) -> optax.GradientTransformation:
    """Returns the optimizer with the arrays of its state stored in `dtype` between steps, and float32 within them."""

    def cast(state: optax.OptState, to: jnp.dtype) -> optax.OptState:
        return jax.tree.map(lambda x: x.astype(to) if x.ndim and jnp.issubdtype(x.dtype, jnp.floating) else x, state)

    def update(
        grads: optax.Updates, state: optax.OptState, params: optax.Params
    ) -> tuple[optax.Updates, optax.OptState]:
        updates, state = optimizer.update(grads, cast(state, jnp.dtype("float32")), params)
        return updates, cast(state, dtype)

    return optax.GradientTransformation(lambda params: cast(optimizer.init(params), dtype), update)


def decayed(params: optax.Params) -> optax.Params:
    """Returns True for each parameter with weight decay: all except the scales of norms."""
    from jax.tree_util import DictKey, tree_map_with_path

    return tree_map_with_path(lambda path, _: path[-1] != DictKey("scale") or path[0] == DictKey("reward"), params)
