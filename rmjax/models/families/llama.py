"""Llama and the families with its names of modules: Mistral, Qwen2, Qwen3, Gemma, Gemma 2, OLMo 2.

Gemma 1 and 2 rather than Gemma 3: their classifiers are text-only, and the open Gemma reward models are built on them
(RM-Gemma-2B, RM-Gemma-7B, Skywork-Reward-Gemma-2-27B, QRM-Gemma-2-27B, GRM-gemma2-2B on RewardBench).
"""

from __future__ import annotations

import dataclasses
from typing import Any

from rmjax.errors import InputError
from rmjax.models.config import RopeScaling, TransformerConfig
from rmjax.models.families.family import WRITTEN, Family, activation, require

MODULES = {
    "embedding": "embed_tokens",
    "norm": "norm",
    "blocks/attention_norm": "layers.{}.input_layernorm",
    "blocks/attention/query": "layers.{}.self_attn.q_proj",
    "blocks/attention/key": "layers.{}.self_attn.k_proj",
    "blocks/attention/value": "layers.{}.self_attn.v_proj",
    "blocks/attention/out": "layers.{}.self_attn.o_proj",
    "blocks/mlp_norm": "layers.{}.post_attention_layernorm",
    "blocks/mlp/gate": "layers.{}.mlp.gate_proj",
    "blocks/mlp/up": "layers.{}.mlp.up_proj",
    "blocks/mlp/down": "layers.{}.mlp.down_proj",
}


def read_rope(hf: Any) -> dict[str, Any]:
    """Returns base and scaling of the rotary frequencies."""
    rope = hf.rope_parameters
    kind = rope.get("rope_type", "default")
    if kind == "default":
        scaling = None
    elif kind == "linear":
        scaling = RopeScaling(float(rope["factor"]))
    elif kind == "llama3":
        scaling = RopeScaling(
            factor=float(rope["factor"]),
            low=float(rope["low_freq_factor"]),
            high=float(rope["high_freq_factor"]),
            original_positions=int(rope["original_max_position_embeddings"]),
        )
    else:
        raise InputError(f"unsupported rope_type {kind!r} in config.json: known are default, linear, llama3")
    return {"rope_theta": float(rope["rope_theta"]), "rope_scaling": scaling}


def write_rope(config: TransformerConfig) -> dict[str, Any]:
    """Inverse of `read_rope`."""
    rope: dict[str, Any] = {"rope_theta": config.rope_theta}
    scaling = config.rope_scaling
    if scaling is None:
        rope |= {"rope_type": "default"}
    elif not scaling.original_positions:
        rope |= {"rope_type": "linear", "factor": scaling.factor}
    else:
        rope |= {
            "rope_type": "llama3",
            "factor": scaling.factor,
            "low_freq_factor": scaling.low,
            "high_freq_factor": scaling.high,
            "original_max_position_embeddings": scaling.original_positions,
        }
    return {"rope_parameters": rope}


def read_common(hf: Any) -> dict[str, Any]:
    """Returns the fields that all of these families share."""
    return {
        "vocab_size": hf.vocab_size,
        "width": hf.hidden_size,
        "layers": hf.num_hidden_layers,
        "heads": hf.num_attention_heads,
        "kv_heads": hf.num_key_value_heads or hf.num_attention_heads,
        "head_dim": getattr(hf, "head_dim", None) or hf.hidden_size // hf.num_attention_heads,
        "mlp_width": hf.intermediate_size,
        "norm_eps": hf.rms_norm_eps,
        "tie_embeddings": hf.tie_word_embeddings,
        "max_positions": hf.max_position_embeddings,
        **read_rope(hf),
    }


def write_common(config: TransformerConfig) -> dict[str, Any]:
    """Inverse of `read_common`."""
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.mlp_width,
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tie_embeddings,
        **({"max_position_embeddings": config.max_positions} if config.max_positions else {}),
        **write_rope(config),
    }


def read_layer_types(hf: Any) -> dict[str, Any]:
    """Returns the layers with a sliding window, which `layer_types` lists."""
    local = tuple(kind == "sliding_attention" for kind in hf.layer_types)
    return {"window": hf.sliding_window, "local_layers": local} if any(local) else {}


def write_layer_types(config: TransformerConfig) -> dict[str, Any]:
    """Inverse of `read_layer_types`."""
    if not config.local_layers:
        return {"layer_types": ["full_attention"] * config.layers}
    kinds = ["sliding_attention" if local else "full_attention" for local in config.local_layers]
    return {"layer_types": kinds, "sliding_window": config.window}


def read_llama(hf: Any) -> dict[str, Any]:
    return {
        **read_common(hf),
        "activation": activation(hf.hidden_act),
        "query_bias": hf.attention_bias,
        "out_bias": hf.attention_bias,
        "mlp_bias": hf.mlp_bias,
    }


def write_llama(config: TransformerConfig) -> dict[str, Any]:
    require(config.query_bias, config.out_bias, "the bias on queries, unlike that on the output,")
    return {
        **write_common(config),
        "hidden_act": WRITTEN[config.activation],
        "attention_bias": config.query_bias,
        "mlp_bias": config.mlp_bias,
    }


def read_mistral(hf: Any) -> dict[str, Any]:
    window = hf.sliding_window
    local = {"window": window, "local_layers": (True,) * hf.num_hidden_layers} if window else {}
    return {**read_common(hf), "activation": activation(hf.hidden_act), **local}


def write_mistral(config: TransformerConfig) -> dict[str, Any]:
    return {**write_common(config), "hidden_act": WRITTEN[config.activation], "sliding_window": config.window or None}


def read_qwen2(hf: Any) -> dict[str, Any]:
    return {
        **read_common(hf),
        **read_layer_types(hf),
        "activation": activation(hf.hidden_act),
        "query_bias": True,
    }


def write_qwen(config: TransformerConfig) -> dict[str, Any]:
    windowed = bool(config.local_layers)
    return {
        **write_common(config),
        **write_layer_types(config),
        "hidden_act": WRITTEN[config.activation],
        "use_sliding_window": windowed,
        # Older versions of transformers read this field instead of layer_types: windows apply from this layer on.
        "max_window_layers": config.local_layers.index(True) if windowed else config.layers,
    }


def read_qwen3(hf: Any) -> dict[str, Any]:
    return {
        **read_common(hf),
        **read_layer_types(hf),
        "activation": activation(hf.hidden_act),
        "query_bias": hf.attention_bias,
        "out_bias": hf.attention_bias,
        "qk_norm": True,
    }


def read_gemma(hf: Any) -> dict[str, Any]:
    return {
        **read_common(hf),
        "activation": activation(hf.hidden_act),
        "query_bias": hf.attention_bias,
        "out_bias": hf.attention_bias,
        "norm_offset": 1.0,
        "embedding_scale": hf.hidden_size**0.5,
    }


def write_gemma(config: TransformerConfig) -> dict[str, Any]:
    require(config.query_bias, config.out_bias, "the bias on queries, unlike that on the output,")
    return {
        **write_common(config),
        "hidden_act": WRITTEN[config.activation],
        "attention_bias": config.query_bias,
    }


def read_gemma2(hf: Any) -> dict[str, Any]:
    return {
        **read_common(hf),
        **read_layer_types(hf),
        "activation": activation(hf.hidden_activation),
        "query_bias": hf.attention_bias,
        "out_bias": hf.attention_bias,
        "norm_offset": 1.0,
        "norm_order": "both",
        "embedding_scale": hf.hidden_size**0.5,
        "attention_scale": hf.query_pre_attn_scalar**-0.5,
        "attention_cap": hf.attn_logit_softcapping or 0.0,
        "output_cap": hf.final_logit_softcapping or 0.0,
    }


def write_gemma2(config: TransformerConfig) -> dict[str, Any]:
    scale = config.attention_scale**-2
    require(abs(scale - round(scale)) < 1e-6 * scale, True, "whether query_pre_attn_scalar is a whole number")
    return {
        **write_common(config),
        **write_layer_types(config),
        "hidden_activation": WRITTEN[config.activation],
        "attention_bias": config.query_bias,
        "query_pre_attn_scalar": round(scale),
        "attn_logit_softcapping": config.attention_cap or None,
        "final_logit_softcapping": config.output_cap or None,
    }


def read_olmo2(hf: Any) -> dict[str, Any]:
    return {
        **read_common(hf),
        "activation": activation(hf.hidden_act),
        "query_bias": hf.attention_bias,
        "out_bias": hf.attention_bias,
        "norm_order": "branch",
        "qk_norm": True,
        "qk_norm_joint": True,
    }


def write_olmo2(config: TransformerConfig) -> dict[str, Any]:
    require(config.query_bias, config.out_bias, "the bias on queries, unlike that on the output,")
    fields = write_common(config)
    # Its class computes the width of a head.
    require(fields.pop("head_dim"), config.width // config.heads, "head_dim, unlike hidden_size / num_attention_heads,")
    return {**fields, "hidden_act": WRITTEN[config.activation], "attention_bias": config.query_bias}


LLAMA = Family(
    model_type="llama",
    classes=("LlamaForCausalLM", "LlamaForSequenceClassification"),
    prefix="model.",
    modules=MODULES,
    head="score",
    output="lm_head",
    pooler=None,
    others=(),
    transposed=True,
    read=read_llama,
    write=write_llama,
)
MISTRAL = dataclasses.replace(
    LLAMA,
    model_type="mistral",
    classes=("MistralForCausalLM", "MistralForSequenceClassification"),
    read=read_mistral,
    write=write_mistral,
)
QWEN2 = dataclasses.replace(
    LLAMA,
    model_type="qwen2",
    classes=("Qwen2ForCausalLM", "Qwen2ForSequenceClassification"),
    read=read_qwen2,
    write=write_qwen,
)
QWEN3 = dataclasses.replace(
    LLAMA,
    model_type="qwen3",
    classes=("Qwen3ForCausalLM", "Qwen3ForSequenceClassification"),
    modules={
        **MODULES,
        "blocks/attention/query_norm": "layers.{}.self_attn.q_norm",
        "blocks/attention/key_norm": "layers.{}.self_attn.k_norm",
    },
    read=read_qwen3,
    write=lambda config: {**write_qwen(config), "attention_bias": config.query_bias},
)
OLMO2 = dataclasses.replace(
    LLAMA,
    model_type="olmo2",
    classes=("Olmo2ForCausalLM", "Olmo2ForSequenceClassification"),
    modules={
        **{
            name: theirs for name, theirs in MODULES.items() if name not in ("blocks/attention_norm", "blocks/mlp_norm")
        },
        "blocks/attention_post_norm": "layers.{}.post_attention_layernorm",
        "blocks/mlp_post_norm": "layers.{}.post_feedforward_layernorm",
        "blocks/attention/query_norm": "layers.{}.self_attn.q_norm",
        "blocks/attention/key_norm": "layers.{}.self_attn.k_norm",
    },
    read=read_olmo2,
    write=write_olmo2,
)
GEMMA = dataclasses.replace(
    LLAMA,
    model_type="gemma",
    classes=("GemmaForCausalLM", "GemmaForSequenceClassification"),
    read=read_gemma,
    write=write_gemma,
)
GEMMA2 = dataclasses.replace(
    LLAMA,
    model_type="gemma2",
    classes=("Gemma2ForCausalLM", "Gemma2ForSequenceClassification"),
    modules={
        **MODULES,
        "blocks/attention_post_norm": "layers.{}.post_attention_layernorm",
        "blocks/mlp_norm": "layers.{}.pre_feedforward_layernorm",
        "blocks/mlp_post_norm": "layers.{}.post_feedforward_layernorm",
    },
    read=read_gemma2,
    write=write_gemma2,
)
