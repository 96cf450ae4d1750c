"""Writes the golden files: results of transformers' torch classes, for tests that run without torch.

    python tests/golden/generate.py

For every entry of CONFIGS, in the folder of its name:

    classifier/       a ...ForSequenceClassification checkpoint with one label, as save_pretrained writes it
    language_model/   the ...ForCausalLM checkpoint with the same trunk; not for encoders
    expected.npz      texts as token ids, and their hidden states, logits and scores in float32, each text run alone

Torch is not otherwise needed by the tests, apart from those in tests/parity, which make fresh models of these configs.
"""

from __future__ import annotations

import copy
import shutil
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import transformers as hf

HERE = Path(__file__).resolve().parent
VOCABULARY = 64
# (tokens of a prompt, tokens of each response to it): beyond the sliding windows below, within the positions.
TEXTS = ((7, (4, 9)), (3, (2, 7, 1)), (1, (12, 20)))

SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 32,
}
# Nothing that has a default keeps it, where it changes what is computed and may be another.
ROPE = {"rope_type": "default", "rope_theta": 100.0}
GROUPED = {**SIZES, "num_key_value_heads": 2, "rms_norm_eps": 0.01, "rope_parameters": ROPE}
# Of the wavelengths 6, 20, 63 and 199 the first is kept, the second blended, and the others are divided.
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 100.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 40,
}
CONFIGS = {
    "llama": hf.LlamaConfig(**GROUPED),
    "llama3": hf.LlamaConfig(
        **{**GROUPED, "max_position_embeddings": 320, "rope_parameters": LLAMA3},
        head_dim=8,
        attention_bias=True,
        mlp_bias=True,
    ),
    "mistral": hf.MistralConfig(**GROUPED, sliding_window=4),
    "qwen2": hf.Qwen2Config(**GROUPED, use_sliding_window=True, sliding_window=4, max_window_layers=1),
    "qwen3": hf.Qwen3Config(**GROUPED, head_dim=8, tie_word_embeddings=True),
    # Caps so low that they bend every logit, and a scale that is not that of the heads.
    "gemma2": hf.Gemma2Config(
        **GROUPED,
        head_dim=8,
        sliding_window=4,
        query_pre_attn_scalar=9,
        attn_logit_softcapping=1.5,
        final_logit_softcapping=3.0,
    ),
    "gpt_neox": hf.GPTNeoXConfig(**SIZES, layer_norm_eps=0.01, rope_parameters={**ROPE, "partial_rotary_factor": 0.5}),
    "gpt2": hf.GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=32,
        n_embd=16,
        n_layer=2,
        n_head=4,
        n_inner=20,
        layer_norm_epsilon=0.01,
        bos_token_id=1,
        eos_token_id=2,
    ),
    "bert": hf.BertConfig(**SIZES, layer_norm_eps=0.01, type_vocab_size=3),
    "distilbert": hf.DistilBertConfig(
        vocab_size=VOCABULARY, max_position_embeddings=32, n_layers=2, n_heads=4, dim=16, hidden_dim=20
    ),
    "olmo2": hf.Olmo2Config(**GROUPED, attention_bias=True, eos_token_id=2),
    "gemma": hf.GemmaConfig(**GROUPED, head_dim=8, attention_bias=True),
}
ENCODERS = ("bert", "distilbert")


class Made(NamedTuple):
    """A random model of one of the configs, in torch; no language model for an encoder."""

    classifier: torch.nn.Module
    language_model: torch.nn.Module | None


def make(name: str, seed: int) -> Made:
    """A classifier and a language model that share a trunk."""
    config = copy.deepcopy(CONFIGS[name])
    config.num_labels, config.pad_token_id = 1, 0  # no text contains 0
    # Written-out attention: the fused kernels know no soft caps.
    options = {"attn_implementation": "eager", "dtype": torch.float32}
    generator = torch.Generator().manual_seed(zlib.crc32(f"{name} {seed}".encode()))
    classifier = hf.AutoModelForSequenceClassification.from_config(config, **options).eval()
    randomise(classifier, generator, offset=0.0 if name in ("gemma", "gemma2") else 1.0)
    if name in ENCODERS:
        return Made(classifier, None)
    language_model = hf.AutoModelForCausalLM.from_config(config, **options).eval()
    randomise(language_model, generator, offset=1.0)
    language_model.base_model.load_state_dict(classifier.base_model.state_dict())
    return Made(classifier, language_model)


def randomise(model: torch.nn.Module, generator: torch.Generator, *, offset: float) -> None:
    """Visible values everywhere: biases are not 0, and scales of norms vary around `offset`."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
            if parameter.ndim == 1 and name.endswith("weight"):
                parameter += offset


def expect(made: Made, seed: int) -> dict[str, np.ndarray]:
    """Random texts and what torch makes of each, alone and without padding.

    Returns:
        `tokens` of all texts one after the other, N `lengths` and how many of them are the `prompts`; behind them
        `hidden` `[tokens, D]`, `logits` `[tokens, V]` if there is a language model, and `scores` `[N]`.
    """
    rng = np.random.default_rng(seed)
    texts, prompts = [], []
    for prompt_length, lengths in TEXTS:
        prompt = rng.integers(1, VOCABULARY, prompt_length)
        texts += [np.concatenate([prompt, rng.integers(1, VOCABULARY, length)]) for length in lengths]
        prompts += [prompt_length] * len(lengths)
    with torch.no_grad():
        ids = [torch.tensor(text)[None] for text in texts]
        found = {
            "hidden": torch.cat([made.classifier.base_model(input_ids=x).last_hidden_state[0] for x in ids]),
            "scores": torch.cat([made.classifier(input_ids=x).logits[0] for x in ids]),
        }
        if made.language_model:
            found["logits"] = torch.cat([made.language_model(input_ids=x).logits[0] for x in ids])
    return {
        "tokens": np.concatenate(texts).astype(np.int32),
        "lengths": np.array([len(text) for text in texts], np.int32),
        "prompts": np.array(prompts, np.int32),
        **{key: value.numpy() for key, value in found.items()},
    }


def main() -> None:
    hf.logging.disable_progress_bar()
    for old in HERE.iterdir():
        if old.is_dir():
            shutil.rmtree(old)
    for i, name in enumerate(CONFIGS):
        made = make(name, seed=0)
        made.classifier.save_pretrained(HERE / name / "classifier")
        if made.language_model:
            made.language_model.save_pretrained(HERE / name / "language_model")
        np.savez(HERE / name / "expected.npz", **expect(made, seed=i))
    size = sum(path.stat().st_size for path in HERE.rglob("*") if path.is_file())
    print(f"{HERE}: {len(CONFIGS)} families, {size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
