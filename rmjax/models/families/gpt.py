"""GPT-NeoX (Pythia) and GPT-2: layer norms, biases everywhere, queries, keys and values in one matrix."""

from __future__ import annotations

from typing import Any

from rmjax.models.config import TransformerConfig
from rmjax.models.families.family import WRITTEN, Family, Fused, activation, require
from rmjax.models.families.llama import read_rope, write_rope


def read_gpt_neox(hf: Any) -> dict[str, Any]:
    head_dim = hf.hidden_size // hf.num_attention_heads
    rotary_dim = int(head_dim * hf.rope_parameters.get("partial_rotary_factor", 1.0))
    return {
        "vocab_size": hf.vocab_size,
        "width": hf.hidden_size,
        "layers": hf.num_hidden_layers,
        "heads": hf.num_attention_heads,
        "kv_heads": hf.num_attention_heads,
        "head_dim": head_dim,
        "mlp_width": hf.intermediate_size,
        "norm_eps": hf.layer_norm_eps,
        "tie_embeddings": hf.tie_word_embeddings,
        "max_positions": hf.max_position_embeddings,
        **read_rope(hf),
        "rotary_dim": 0 if rotary_dim == head_dim else rotary_dim,
        "norm": "layer",
        "parallel": hf.use_parallel_residual,
        "query_bias": hf.attention_bias,
        "out_bias": hf.attention_bias,
        "mlp_bias": True,
        "activation": activation(hf.hidden_act),
        "gated": False,
    }


def write_gpt_neox(config: TransformerConfig) -> dict[str, Any]:
    fields = write_rope(config)
    fields["rope_parameters"]["partial_rotary_factor"] = (config.rotary_dim or config.head_dim) / config.head_dim
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.mlp_width,
        "layer_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tie_embeddings,
        "max_position_embeddings": config.max_positions,
        **fields,
        "use_parallel_residual": config.parallel,
        "attention_bias": config.query_bias,
        "hidden_act": WRITTEN[config.activation],
    }


def read_gpt2(hf: Any) -> dict[str, Any]:
    require(hf.scale_attn_weights, True, "scale_attn_weights")
    require(hf.scale_attn_by_inverse_layer_idx, False, "scale_attn_by_inverse_layer_idx")
    require(hf.add_cross_attention, False, "add_cross_attention")
    return {
        "vocab_size": hf.vocab_size,
        "width": hf.n_embd,
        "layers": hf.n_layer,
        "heads": hf.n_head,
        "kv_heads": hf.n_head,
        "head_dim": hf.n_embd // hf.n_head,
        "mlp_width": hf.n_inner or 4 * hf.n_embd,
        "rope_theta": 0.0,
        "norm_eps": hf.layer_norm_epsilon,
        "tie_embeddings": hf.tie_word_embeddings,
        "max_positions": hf.n_positions,
        "positions": "learned",
        "norm": "layer",
        "query_bias": True,
        "out_bias": True,
        "mlp_bias": True,
        "activation": activation(hf.activation_function),
        "gated": False,
    }


def write_gpt2(config: TransformerConfig) -> dict[str, Any]:
    return {
        "vocab_size": config.vocab_size,
        "n_embd": config.width,
        "n_layer": config.layers,
        "n_head": config.heads,
        "n_inner": config.mlp_width,
        "layer_norm_epsilon": config.norm_eps,
        "tie_word_embeddings": config.tie_embeddings,
        "n_positions": config.max_positions,
        "activation_function": {**WRITTEN, "gelu_tanh": "gelu_new"}[config.activation],
    }


GPT_NEOX = Family(
    model_type="gpt_neox",
    classes=("GPTNeoXForCausalLM", "GPTNeoXForSequenceClassification"),
    prefix="gpt_neox.",
    modules={
        "embedding": "embed_in",
        "norm": "final_layer_norm",
        "blocks/attention_norm": "layers.{}.input_layernorm",
        **{
            f"blocks/attention/{name}": Fused("layers.{}.attention.query_key_value", part, by_head=True)
            for part, name in enumerate(("query", "key", "value"))
        },
        "blocks/attention/out": "layers.{}.attention.dense",
        "blocks/mlp_norm": "layers.{}.post_attention_layernorm",
        "blocks/mlp/up": "layers.{}.mlp.dense_h_to_4h",
        "blocks/mlp/down": "layers.{}.mlp.dense_4h_to_h",
    },
    head="score",
    output="embed_out",
    pooler=None,
    others=(),
    transposed=True,
    read=read_gpt_neox,
    write=write_gpt_neox,
)
GPT2 = Family(
    model_type="gpt2",
    classes=("GPT2LMHeadModel", "GPT2ForSequenceClassification"),
    prefix="transformer.",
    modules={
        "embedding": "wte",
        "position": "wpe",
        "norm": "ln_f",
        "blocks/attention_norm": "h.{}.ln_1",
        **{
            f"blocks/attention/{name}": Fused("h.{}.attn.c_attn", part, by_head=False)
            for part, name in enumerate(("query", "key", "value"))
        },
        "blocks/attention/out": "h.{}.attn.c_proj",
        "blocks/mlp_norm": "h.{}.ln_2",
        "blocks/mlp/up": "h.{}.mlp.c_fc",
        "blocks/mlp/down": "h.{}.mlp.c_proj",
    },
    head="score",
    output="lm_head",
    pooler=None,
    others=(),
    transposed=False,
    read=read_gpt2,
    write=write_gpt2,
)
