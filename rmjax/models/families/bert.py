"""BERT and DistilBERT: encoders with norms after the residual sums and a score from the first token."""

from __future__ import annotations

from typing import Any

from rmjax.models.config import TransformerConfig
from rmjax.models.families.family import WRITTEN, Family, activation, require

ENCODER = {
    "tie_embeddings": True,
    "rope_theta": 0.0,
    "norm_eps": 1e-12,
    "causal": False,
    "positions": "learned",
    "norm": "layer",
    "norm_order": "post",
    "embedding_norm": True,
    "query_bias": True,
    "out_bias": True,
    "mlp_bias": True,
    "gated": False,
}


def read_bert(hf: Any) -> dict[str, Any]:
    require(hf.is_decoder, False, "is_decoder")
    require(getattr(hf, "position_embedding_type", "absolute"), "absolute", "position_embedding_type")
    return {
        **ENCODER,
        "vocab_size": hf.vocab_size,
        "width": hf.hidden_size,
        "layers": hf.num_hidden_layers,
        "heads": hf.num_attention_heads,
        "kv_heads": hf.num_attention_heads,
        "head_dim": hf.hidden_size // hf.num_attention_heads,
        "mlp_width": hf.intermediate_size,
        "norm_eps": hf.layer_norm_eps,
        "max_positions": hf.max_position_embeddings,
        "token_types": hf.type_vocab_size,
        "activation": activation(hf.hidden_act),
        "pooler": "tanh",
    }


def write_bert(config: TransformerConfig) -> dict[str, Any]:
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.mlp_width,
        "layer_norm_eps": config.norm_eps,
        "max_position_embeddings": config.max_positions,
        "type_vocab_size": config.token_types,
        "hidden_act": WRITTEN[config.activation],
    }


def read_distilbert(hf: Any) -> dict[str, Any]:
    return {
        **ENCODER,
        "vocab_size": hf.vocab_size,
        "width": hf.dim,
        "layers": hf.n_layers,
        "heads": hf.n_heads,
        "kv_heads": hf.n_heads,
        "head_dim": hf.dim // hf.n_heads,
        "mlp_width": hf.hidden_dim,
        "max_positions": hf.max_position_embeddings,
        "activation": activation(hf.activation),
        "pooler": "relu",
    }


def write_distilbert(config: TransformerConfig) -> dict[str, Any]:
    return {
        "vocab_size": config.vocab_size,
        "dim": config.width,
        "n_layers": config.layers,
        "n_heads": config.heads,
        "hidden_dim": config.mlp_width,
        "max_position_embeddings": config.max_positions,
        "activation": WRITTEN[config.activation],
    }


BERT = Family(
    model_type="bert",
    classes=(None, "BertForSequenceClassification"),
    prefix="bert.",
    modules={
        "embedding": "embeddings.word_embeddings",
        "position": "embeddings.position_embeddings",
        "token_type": "embeddings.token_type_embeddings",
        "embedding_norm": "embeddings.LayerNorm",
        "blocks/attention/query": "encoder.layer.{}.attention.self.query",
        "blocks/attention/key": "encoder.layer.{}.attention.self.key",
        "blocks/attention/value": "encoder.layer.{}.attention.self.value",
        "blocks/attention/out": "encoder.layer.{}.attention.output.dense",
        "blocks/attention_norm": "encoder.layer.{}.attention.output.LayerNorm",
        "blocks/mlp/up": "encoder.layer.{}.intermediate.dense",
        "blocks/mlp/down": "encoder.layer.{}.output.dense",
        "blocks/mlp_norm": "encoder.layer.{}.output.LayerNorm",
    },
    head="classifier",
    output=None,
    pooler="bert.pooler.dense",
    others=("cls.",),
    transposed=True,
    read=read_bert,
    write=write_bert,
)
DISTILBERT = Family(
    model_type="distilbert",
    classes=(None, "DistilBertForSequenceClassification"),
    prefix="distilbert.",
    modules={
        "embedding": "embeddings.word_embeddings",
        "position": "embeddings.position_embeddings",
        "embedding_norm": "embeddings.LayerNorm",
        "blocks/attention/query": "transformer.layer.{}.attention.q_lin",
        "blocks/attention/key": "transformer.layer.{}.attention.k_lin",
        "blocks/attention/value": "transformer.layer.{}.attention.v_lin",
        "blocks/attention/out": "transformer.layer.{}.attention.out_lin",
        "blocks/attention_norm": "transformer.layer.{}.sa_layer_norm",
        "blocks/mlp/up": "transformer.layer.{}.ffn.lin1",
        "blocks/mlp/down": "transformer.layer.{}.ffn.lin2",
        "blocks/mlp_norm": "transformer.layer.{}.output_layer_norm",
    },
    head="classifier",
    output=None,
    pooler="pre_classifier",
    others=("vocab_transform.", "vocab_layer_norm.", "vocab_projector."),
    transposed=True,
    read=read_distilbert,
    write=write_distilbert,
)
