"""Tiny Hugging Face checkpoints for tests: random weights and a tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from data.test_tokenizer import wordpiece
from safetensors.numpy import load_file, save_file

from rmjax.data.bpe import train_bpe
from rmjax.models.config import TransformerConfig, default_head
from rmjax.models.export import write_pretrained
from rmjax.models.families.bert import ENCODER
from rmjax.models.reward import RewardTransformer
from rmjax.models.transformer import LanguageModel, parameter_shapes

SIZES = {"width": 16, "layers": 2, "heads": 4, "kv_heads": 4, "head_dim": 4, "mlp_width": 20, "max_positions": 64}
# They leave room for an ending and for what a chat template writes before an answer.
LIMITS = {"tokenizer.max_prompt": 32, "tokenizer.max_response": 16}
TEXTS = ("Human: what is the capital of France? Assistant: Paris, of course.", "I will not help with that.")


def write_llama(folder: Path) -> Any:
    """A causal language model as Llama's, with a byte BPE and its own chat template. Returns its parameters."""
    config = TransformerConfig(
        **{**SIZES, "kv_heads": 2}, vocab_size=300, rope_theta=100.0, norm_eps=1e-5, tie_embeddings=False
    )
    params = random_params(LanguageModel(config, jnp.dtype("float32")))
    write_pretrained(folder, config, params, head=None, dtype=np.dtype("float32"), fields={})
    train_bpe(TEXTS, 300).save_pretrained(folder)
    return params


def write_bert(folder: Path) -> Any:
    """An encoder as BERT's, without a classifier, with a WordPiece tokenizer. Returns its parameters."""
    tokenizer = wordpiece()
    fields = {"token_types": 2, "activation": "gelu", "pooler": "tanh", "family": "bert", "vocab_size": len(tokenizer)}
    config = TransformerConfig(**{**ENCODER, **SIZES, **fields})
    params = random_params(RewardTransformer(config, default_head(("score",), config), jnp.dtype("float32")))
    write_pretrained(folder, config, params, head="score", dtype=np.dtype("float32"), fields={})
    tokenizer.save_pretrained(folder)
    weights = folder / "model.safetensors"
    kept = {name: tensor for name, tensor in load_file(weights).items() if not name.startswith("classifier.")}
    save_file(kept, weights, metadata={"format": "pt"})
    return params


def write_comparisons(path: Path, count: int) -> Path:
    """Made-up pairs, helpful and safety in turn; short answers and long ones win equally often."""
    lines = []
    for i in range(count):
        short, long = f"No {i}.", f"The answer to {i} is {i + 1}, of course."
        chosen, rejected = (short, long) if i // 2 % 2 else (long, short)
        record = {"prompt": f"What is {i}?", "chosen": chosen, "rejected": rejected}
        lines.append(json.dumps({**record, "head": ("helpful", "safety")[i % 2]}) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path


def random_params(module: Any) -> Any:
    # Biases begin as zeros and norms as ones, so that a mistake with them would go unseen.
    params, rng = parameter_shapes(module), np.random.default_rng(7)
    return jax.tree.map(lambda leaf: (rng.normal(size=leaf.shape) * 0.3 + 0.1).astype(leaf.dtype), params)
