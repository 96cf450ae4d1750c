"""Settings of a model: the trunk, as a family's config.json describes it, and the reward head."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from rmjax.errors import InputError
from rmjax.models.lora import Lora

CHOICES = {
    "norm": ("rms", "layer"),
    "norm_order": ("pre", "post", "both", "branch"),
    "positions": ("rotary", "learned"),
    "activation": ("silu", "gelu", "gelu_tanh"),
    "pooler": ("", "tanh", "relu"),
}
SIZES = ("vocab_size", "width", "layers", "heads", "kv_heads", "head_dim", "mlp_width")
MOST_LAYERS = 1000
LARGEST = 2**31 - 1
POOLINGS = ("last", "first", "mean")


@dataclasses.dataclass(frozen=True)
class RopeScaling:
    """Scaled rotary frequencies, for contexts longer than those of the first pretraining.

    Frequencies with a wavelength above `original_positions / low` are divided by `factor`. Those with a wavelength
    below `original_positions / high` do not change. Between the two the scale is interpolated linearly (Llama 3,
    2407.21783). If `original_positions` is 0, all are divided (position interpolation, Chen et al. 2306.15595).
    """

    factor: float
    low: float = 0.0
    high: float = 0.0
    original_positions: int = 0

    def __post_init__(self) -> None:
        _check_numbers(self, "model.rope_scaling.")
        if self.factor <= 0:
            raise InputError(f"model.rope_scaling.factor must be above 0, found {self.factor}")
        if self.original_positions and not 0 < self.low < self.high:
            raise InputError(f"model.rope_scaling.low must be above 0 and below high, found {self.low} and {self.high}")


@dataclasses.dataclass(frozen=True)
class TransformerConfig:
    """Settings of a trunk. The defaults are Llama's.

    Attributes:
        vocab_size: V, rows of the embedding table.
        width: D.
        layers: number of blocks.
        heads: H query heads.
        kv_heads: G key/value heads; H for multi-head attention, fewer for grouped-query.
        head_dim: C, channels of a head.
        mlp_width: F.
        rope_theta: base of the rotary frequencies (Su et al. 2104.09864).
        norm_eps: epsilon of the norms.
        tie_embeddings: the embedding table is the output layer of the language model.
        family: Hugging Face family for loading and export, a name in `rmjax.models.families`.
        max_positions: the longest sequence that the weights support; 0 for no limit.
        causal: a token sees only the tokens before it and itself (decoder), else its whole text (encoder).
        positions: `rotary`, or `learned` embeddings (`max_positions` of them).
        rotary_dim: channels of a head with rotary positions; 0 for all.
        rope_scaling: scaled frequencies for longer contexts; None for no scaling.
        window: tokens that a token of a local layer sees, itself included; 0 for all.
        local_layers: for every layer, True if the window applies in it; empty if it applies in none.
        norm: `rms` (Zhang & Sennrich 1910.07467) or `layer` (Ba et al. 1607.06450).
        norm_offset: added to the stored scale of a norm; 1 for Gemma.
        norm_order: `pre` before each branch, `post` after its residual sum (BERT), `both` before and after the branch,
            `branch` only after the branch (OLMo 2).
        parallel: attention and MLP read the same stream and are added together (GPT-J, GPT-NeoX).
        embedding_norm: a norm after the embeddings (BERT).
        embedding_scale: factor on the embeddings.
        token_types: rows of the token-type table, of which row 0 is added to every embedding (BERT); 0 for no table.
        query_bias: biases on queries, keys and values.
        out_bias: a bias on the output of attention.
        mlp_bias: biases in the MLP.
        qk_norm: an RMS norm on every query and key head.
        qk_norm_joint: that norm is over the channels of all heads together.
        activation: `silu`, `gelu` or its tanh approximation `gelu_tanh` (Hendrycks & Gimpel 1606.08415).
        gated: the MLP is down(activation(gate(x)) * up(x)) (Shazeer 2002.05202), else down(activation(up(x))).
        attention_scale: factor on the attention logits; 0 for C^-1/2.
        attention_cap: attention logits are bounded to cap * tanh(logits / cap); 0 for no bound (Gemma 2, 2408.00118).
        output_cap: the same for the language model's logits.
        pooler: activation of a dense layer between the trunk and the heads; empty for no such layer.
        lora: low-rank adapters of the linear maps; None for no adapters.
    """

    vocab_size: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp_width: int
    rope_theta: float
    norm_eps: float
    tie_embeddings: bool
    family: str = "llama"
    max_positions: int = 0
    causal: bool = True
    positions: str = "rotary"
    rotary_dim: int = 0
    rope_scaling: RopeScaling | None = None
    window: int = 0
    local_layers: tuple[bool, ...] = ()
    norm: str = "rms"
    norm_offset: float = 0.0
    norm_order: str = "pre"
    parallel: bool = False
    embedding_norm: bool = False
    embedding_scale: float = 1.0
    token_types: int = 0
    query_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    qk_norm_joint: bool = False
    activation: str = "silu"
    gated: bool = True
    attention_scale: float = 0.0
    attention_cap: float = 0.0
    output_cap: float = 0.0
    pooler: str = ""
    lora: Lora | None = None

    def __post_init__(self) -> None:
        _check_numbers(self, "model.")
        if self.layers > MOST_LAYERS:
            raise InputError(f"model.layers must be at most {MOST_LAYERS}, found {self.layers}")
        if self.norm_eps < 0 or (self.positions == "rotary" and self.rope_theta <= 0):
            raise InputError(
                f"model.norm_eps must be at least 0 and model.rope_theta above 0, found {self.norm_eps} and "
                f"{self.rope_theta}"
            )
        for field, known in CHOICES.items():
            if getattr(self, field) not in known:
                raise InputError(f"unknown model.{field} {getattr(self, field)!r}: known are {', '.join(known)}")
        if self.heads % self.kv_heads:
            raise InputError(f"model.heads={self.heads} is not a multiple of model.kv_heads={self.kv_heads}")
        if self.positions == "rotary" and (self.rotary_dim or self.head_dim) % 2:
            raise InputError(f"model.head_dim={self.head_dim} must be even for rotary positions")
        if self.positions == "learned" and not self.max_positions:
            raise InputError("learned positions need model.max_positions")
        if self.local_layers and len(self.local_layers) != self.layers:
            raise InputError(f"model.local_layers names {len(self.local_layers)} layers of {self.layers}")

    def without_adapters(self) -> TransformerConfig:
        """Returns the same trunk without low-rank adapters."""
        return dataclasses.replace(self, lora=None)


@dataclasses.dataclass(frozen=True)
class HeadConfig:
    """Settings of the reward heads.

    Attributes:
        names: names of the heads, in the order of the score columns.
        pooling: the hidden state that the heads read. `last`: that of the response's last token (EOS). `first`: that of
            the first token of the text, for encoders. `mean`: the mean over the response's tokens, EOS included.
        bias: a bias on every head. A causal trunk needs none, because a ranking loss gives it no gradient.
    """

    names: tuple[str, ...]
    pooling: str
    bias: bool

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise InputError(f"unknown head.pooling {self.pooling!r}: known are {', '.join(POOLINGS)}")


def _check_numbers(settings: Any, prefix: str) -> None:
    """Raises InputError unless whole numbers are whole and in their range, and the other numbers finite."""
    for field in dataclasses.fields(settings):
        name, value = prefix + field.name, getattr(settings, field.name)
        if field.type == "int":
            if isinstance(value, bool) or not isinstance(value, int) or value > LARGEST:
                raise InputError(f"{name} must be a whole number of at most {LARGEST}, found {value!r}")
            if value < (field.name in SIZES):
                raise InputError(f"{name} must be {'positive' if field.name in SIZES else 'at least 0'}, found {value}")
        elif field.type == "float" and (not isinstance(value, int | float) or not math.isfinite(value)):
            raise InputError(f"{name} must be a finite number, found {value!r}")


def default_head(names: Sequence[str], config: TransformerConfig) -> HeadConfig:
    """Returns the head of Hugging Face's classifiers: `last` without bias if causal, else `first` with bias."""
    return HeadConfig(tuple(names), "last" if config.causal else "first", bias=not config.causal)


def config_from_json(record: dict) -> TransformerConfig:
    """Inverse of `dataclasses.asdict` after a round trip through JSON.

    Raises:
        TypeError: a field is missing or unknown.
    """
    scaling, lora = record["rope_scaling"], record.get("lora")
    return TransformerConfig(
        **{
            **record,
            "rope_scaling": scaling and RopeScaling(**scaling),
            "local_layers": tuple(record["local_layers"]),
            "lora": lora and Lora(**{**lora, "targets": tuple(lora["targets"])}),
        }
    )


def head_from_json(record: dict) -> HeadConfig:
    """Inverse of `dataclasses.asdict` after a round trip through JSON.

    Raises:
        TypeError: a field is missing or unknown.
        InputError: the pooling is unknown.
    """
    return HeadConfig(**{**record, "names": tuple(record["names"])})
