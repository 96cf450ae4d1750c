"""Open reward models that load: their config.json and names of tensors, with small random weights.

    PYTHONPATH=. python benchmarks/open_reward_models.py

Thirty scalar reward models that are popular on the Hugging Face hub or high on RewardBench. Family, class and tensors
of the heads are stated from memory and were not checked against the hub. A model counts if `rmjax.load` opens it and
scores a text, or, for a language model whose logit is the reward, with `logit=0`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from harness import markdown
from safetensors.numpy import load_file, save_file

import rmjax
from rmjax.data.bpe import train_bpe
from rmjax.models.config import TransformerConfig, default_head
from rmjax.models.export import write_pretrained
from rmjax.models.families import FAMILIES
from rmjax.models.reward import RewardTransformer
from rmjax.models.transformer import parameter_shapes

WIDTH, VOCABULARY = 16, 320
TEXTS = ("What is the capital of France? Paris, of course.", "I will not help with that.")


class Model(NamedTuple):
    """A model: its name, `model_type`, class, and shapes of the tensors of its head."""

    name: str
    family: str
    architecture: str
    head: dict[str, tuple[int, ...]]
    logit: bool = False


def linear(name: str, outputs: int = 1) -> dict[str, tuple[int, ...]]:
    """Returns the shape of a linear layer without bias."""
    return {f"{name}.weight": (outputs, WIDTH)}


def two_layers(first: str, second: str) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of a hidden layer and an output layer with biases."""
    return {f"{first}.bias": (WIDTH,), **linear(first, WIDTH), f"{second}.bias": (1,), **linear(second)}


SCORE, V_HEAD = linear("score"), linear("v_head")
MODELS = (
    Model("Skywork-Reward-V2-Llama-3.1-8B", "llama", "LlamaForSequenceClassification", SCORE),
    Model("Skywork-Reward-V2-Llama-3.2-1B", "llama", "LlamaForSequenceClassification", SCORE),
    Model("Skywork-Reward-V2-Qwen3-0.6B", "qwen3", "Qwen3ForSequenceClassification", SCORE),
    Model("Skywork-Reward-V2-Qwen3-8B", "qwen3", "Qwen3ForSequenceClassification", SCORE),
    Model("Skywork-Reward-Llama-3.1-8B-v0.2", "llama", "LlamaForSequenceClassification", SCORE),
    Model("Skywork-Reward-Gemma-2-27B-v0.2", "gemma2", "Gemma2ForSequenceClassification", SCORE),
    Model("Llama-3.1-8B-Base-RM-RB2", "llama", "LlamaForSequenceClassification", SCORE),
    Model("Llama-3.1-Tulu-3-8B-RM", "llama", "LlamaForSequenceClassification", SCORE),
    Model("OLMo-2-1124-7B-RM", "olmo2", "Olmo2ForSequenceClassification", SCORE),
    Model("FsfairX-LLaMA3-RM-v0.1", "llama", "LlamaForSequenceClassification", SCORE),
    Model("RM-Mistral-7B", "mistral", "MistralForSequenceClassification", SCORE),
    Model("RM-Gemma-2B", "gemma", "GemmaForSequenceClassification", SCORE),
    Model("GRM-Llama3.2-3B-rewardmodel-ft", "llama", "LlamaForSequenceClassification", SCORE),
    Model(
        "ArmoRM-Llama3-8B-v0.1 (objectives, without their gate)",
        "llama",
        "LlamaForRewardModelWithGating",
        {**linear("regression_layer", 19), "gating.layers.0.weight": (8, WIDTH), "reward_transform_matrix": (19, 19)},
    ),
    Model("INF-ORM-Llama3.1-70B", "llama", "INFORMForSequenceClassification", two_layers("score.0", "score.2")),
    Model("WorldPM-72B", "qwen2", "Qwen2ForRewardModel", two_layers("score.0", "score.2")),
    Model("Qwen2.5-Math-RM-72B", "qwen2", "Qwen2ForRewardModel", two_layers("score.0", "score.2")),
    Model("UltraRM-13b", "llama", "LlamaRewardModel", linear("regression_head")),
    Model("Eurus-RM-7b", "mistral", "EurusRewardModel", linear("regression_head")),
    Model("beaver-7b-v1.0-reward", "llama", "LlamaForScore", linear("score_head")),
    Model("Llama-3.1-Nemotron-70B-Reward-HF", "llama", "LlamaForCausalLM", {}, logit=True),
    Model("Llama-3.3-Nemotron-70B-Reward", "llama", "LlamaForCausalLM", {}, logit=True),
    Model("Qwen-3-Nemotron-32B-Reward", "qwen3", "Qwen3ForCausalLM", {}, logit=True),
    Model("internlm2-7b-reward", "internlm2", "InternLM2ForRewardModel", V_HEAD),
    Model("internlm2-20b-reward", "internlm2", "InternLM2ForRewardModel", V_HEAD),
    Model("POLAR-7B", "internlm2", "InternLM2ForRewardModel", V_HEAD),
    Model("reward-model-deberta-v3-large-v2", "deberta-v2", "DebertaV2ForSequenceClassification", SCORE),
    Model("oasst-rm-2.1-pythia-1.4b", "gpt_neox", "GPTNeoXRewardModel", linear("out_proj")),
    Model("Starling-RM-7B-alpha", "llama", "GPTRewardModel", V_HEAD),
    Model("QRM-Llama3.1-8B (quantiles)", "llama", "LlamaForRewardModelWithGating", linear("quantile_head", 19)),
)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number, model in enumerate(MODELS):
            result = opened(model, Path(folder, str(number)))
            rows.append({"model": model.name, "class": model.architecture, "result": result})
    loaded = sum(row["result"] == "loads" for row in rows)
    print(markdown(rows))
    print(f"{loaded} of {len(rows)} load, {100 * loaded / len(rows):.0f} %")


def opened(model: Model, folder: Path) -> str:
    """Writes a small model of this kind and loads it; returns `loads`, or why it does not."""
    write(model, folder)
    try:
        scores = rmjax.load(folder, devices=1, logit=0 if model.logit else None)
        found = scores.raw([(rmjax.Message("user", TEXTS[0]),)], [list(TEXTS)])[0]
    except rmjax.InputError as error:
        return str(error).replace(str(folder), "FOLDER").partition(":")[0]
    return "loads" if np.isfinite(found).all() else "its scores are not finite"


def write(model: Model, folder: Path) -> None:
    """Writes the folder. A family that is not known here has the tensors of a Llama."""
    known = model.family if model.family in FAMILIES else "llama"
    config = TransformerConfig(
        vocab_size=VOCABULARY,
        width=WIDTH,
        layers=2,
        heads=4,
        kv_heads=4,
        head_dim=4,
        mlp_width=24,
        rope_theta=1e4,
        norm_eps=1e-5,
        tie_embeddings=False,
        max_positions=128,
        family=known,
        **FIELDS.get(known, {}),
    )
    rng = np.random.default_rng(0)
    shapes = parameter_shapes(RewardTransformer(config, default_head(("score",), config), jnp.dtype("float32")))
    params = random(shapes, rng)
    write_pretrained(folder, config, params, head="score", dtype=np.dtype("float32"), fields={})
    train_bpe(TEXTS, 300).save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    del weights["score.weight"]
    head = {"lm_head.weight": (VOCABULARY, WIDTH)} if model.logit else model.head
    weights |= {name: rng.normal(size=shape).astype(np.float32) for name, shape in head.items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    fields = json.loads((folder / "config.json").read_text()) | {"architectures": [model.architecture]}
    for name in () if model.head == SCORE else ("id2label", "label2id", "num_labels"):
        fields.pop(name, None)
    (folder / "config.json").write_text(json.dumps(fields | {"model_type": model.family}))


# Fields of a trunk that its family's config.json cannot leave out.
FIELDS = {
    "gemma": {"norm_offset": 1.0, "embedding_scale": WIDTH**0.5, "activation": "gelu_tanh"},
    "gemma2": {
        "norm_offset": 1.0,
        "norm_order": "both",
        "embedding_scale": WIDTH**0.5,
        "activation": "gelu_tanh",
        "attention_scale": 0.5,
    },
    "olmo2": {"norm_order": "branch", "qk_norm": True, "qk_norm_joint": True},
    "qwen2": {"query_bias": True},
    "qwen3": {"qk_norm": True},
    "gpt_neox": {
        "norm": "layer",
        "parallel": True,
        "query_bias": True,
        "out_bias": True,
        "mlp_bias": True,
        "gated": False,
        "activation": "gelu",
    },
}


def random(shapes: object, rng: np.random.Generator) -> object:
    """Returns random numbers of these shapes."""
    return jax.tree.map(lambda leaf: (0.3 * rng.normal(size=leaf.shape)).astype(leaf.dtype), shapes)


if __name__ == "__main__":
    main()
