"""Low-rank adapters (LoRA): settings, and trees of parameters with adapters (Hu et al. 2106.09685).

A linear map with adapters computes x @ kernel + alpha / rank * (x @ a) @ b. Only `a`, `b` and the parameters outside of
the language model, such as reward heads, are trained. The other parameters are frozen.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from rmjax.errors import InputError

LINEAR_MAPS = ("query", "key", "value", "out", "up", "gate", "down")  # of a block, as the rules of layouts name them
A, B = "lora_a", "lora_b"
LANGUAGE_MODEL = ("trunk", "output")  # parts that have been trained before


@dataclasses.dataclass(frozen=True)
class Lora:
    """Adapters of a trunk.

    Attributes:
        rank: r, the inner width of every adapter.
        alpha: the output of an adapter is multiplied by alpha / r.
        targets: names of the linear maps with adapters, of `LINEAR_MAPS`. A trunk may lack some, such as `gate`.
    """

    rank: int
    alpha: float
    targets: tuple[str, ...]

    def __post_init__(self) -> None:
        if isinstance(self.rank, bool) or not isinstance(self.rank, int) or not 0 < self.rank < 2**16:
            raise InputError(f"lora.rank must be a positive whole number below 65,536, found {self.rank!r}")
        if not isinstance(self.alpha, int | float) or not 0 < self.alpha < math.inf:
            raise InputError(f"lora.alpha must be a finite number above 0, found {self.alpha!r}")
        unknown = [name for name in self.targets if name not in LINEAR_MAPS]
        if unknown or not self.targets or len(set(self.targets)) != len(self.targets):
            raise InputError(
                f"lora.targets must name linear maps of a block, each once ({', '.join(LINEAR_MAPS)}), found "
                f"{','.join(self.targets) or 'none'}"
            )

    @property
    def scale(self) -> float:
        """The factor of the adapters' output."""
        return self.alpha / self.rank


def is_adapter(path: str) -> bool:
    """Returns True for the path of an adapter's parameter, such as `trunk/blocks/attention/query/lora_a`."""
    return path.rpartition("/")[2] in (A, B)


def is_frozen(path: str) -> bool:
    """Returns True for the path of a parameter that is not trained in a model with adapters."""
    return path.split("/")[0] in LANGUAGE_MODEL and not is_adapter(path)


def split(params: Any) -> tuple[Any, Any]:
    """Returns the trained and the frozen parameters as trees; without adapters all are trained."""
    flat = flatten_dict(params, sep="/")
    if not any(map(is_adapter, flat)):
        return params, {}
    parts = [{path: x for path, x in flat.items() if is_frozen(path) == frozen} for frozen in (False, True)]
    return unflatten_dict(parts[0], sep="/"), unflatten_dict(parts[1], sep="/")


def join(trained: Any, frozen: Any) -> Any:
    """Inverse of `split`."""
    return unflatten_dict(flatten_dict(trained) | flatten_dict(frozen)) if frozen else trained


def without_adapters(params: Any) -> Any:
    """Returns a tree of parameters, or of their shapes, without those of the adapters."""
    flat = flatten_dict(params, sep="/")
    return unflatten_dict({path: x for path, x in flat.items() if not is_adapter(path)}, sep="/")


def merge(params: Any, lora: Lora | None) -> Any:
    """Returns the parameters of the same model without adapters, in float32: kernel + alpha / rank * a @ b.

    Without adapters (`lora` is None) the parameters are returned as they are.
    """
    if lora is None:
        return params
    flat = flatten_dict(params, sep="/")
    for path in [path for path in flat if path.endswith(f"/{A}")]:
        layer = path.removesuffix(A)
        a, b = flat.pop(path), flat.pop(layer + B)
        flat[f"{layer}kernel"] = _merged(flat[f"{layer}kernel"], a, b, lora.scale)
    return unflatten_dict({path: x.astype(jnp.float32) for path, x in flat.items()}, sep="/")


@jax.jit
def _merged(kernel: jax.Array, a: jax.Array, b: jax.Array, scale: float) -> jax.Array:
    change = jnp.einsum("...ir,...ro->...io", a, b, precision=jax.lax.Precision.HIGHEST)
    return kernel.astype(jnp.float32) + scale * change
