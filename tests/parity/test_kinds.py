"""Scores of random classifiers of many kinds, compared with torch: `pytest -m parity -s`.

Blanks at either end, code, many scripts, thoughts, and answers of hundreds of tokens. Sizes are odd, and windows are
shorter than the texts. It prints the largest error in units of the scores' standard deviation.
"""

import numpy as np
import pytest
from data.chat_templates import CHATS, chat_tokenizer
from data.test_chat_templates import ANSWERS, CODE, CONVERSATIONS, EMOJI
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    Gemma2Config,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

import rmjax
from rmjax.data.comparisons import Message

torch = pytest.importorskip("torch")

from golden import generate  # noqa: E402 (it imports torch)

pytestmark = pytest.mark.parity
torch.set_num_threads(1)  # so small a model is slower on several

TOLERANCE = 1e-4
LAYERS = 3
TRUNK = {
    "hidden_size": 80,
    "intermediate_size": 132,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 10,
    "max_position_embeddings": 4096,
}
SIZES = {**TRUNK, "num_key_value_heads": 2, "head_dim": 18, "vocab_size": 999}
NEOX = {**TRUNK, "vocab_size": 1250}
LLAMA_3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 5000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 257,
}


def rope(kind="default", **fields):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 5000.0, **fields}}


def local_from(layer):
    """The layers that attend within a window, as Qwen's configurations list them."""
    kinds = ["full_attention"] * layer + ["sliding_attention"] * (LAYERS - layer)
    return {"layer_types": kinds, "max_window_layers": layer, "use_sliding_window": True}


# Kind -> (chat, padding, configuration).
KINDS = {
    "llama": ("llama3.1", "<|end_of_text|>", LlamaConfig(**SIZES, **rope())),
    "llama, rope of llama3, all biases": (
        "llama3.1",
        "<|end_of_text|>",
        LlamaConfig(**SIZES, rope_parameters=LLAMA_3_ROPE, attention_bias=True, mlp_bias=True),
    ),
    "llama, pad is eos": ("llama3.1", "<|eot_id|>", LlamaConfig(**SIZES)),
    "llama, tulu": ("tulu3", None, LlamaConfig(**SIZES)),
    "llama, zephyr": ("zephyr", "</s>", LlamaConfig(**{**SIZES, "vocab_size": 1237})),
    "llama, template of llama 2": ("llama2", "<unk>", LlamaConfig(**SIZES)),
    "llama, linear rope": ("llama3.1", None, LlamaConfig(**SIZES, **rope("linear", factor=2.5))),
    "llama, all heads": ("smollm2", None, LlamaConfig(**{**SIZES, "num_key_value_heads": 10, "head_dim": 22})),
    "llama, 5 labels": ("llama3.1", None, LlamaConfig(**SIZES, num_labels=5)),
    "mistral, window": ("mistral", "<unk>", MistralConfig(**{**SIZES, "vocab_size": 1531}, sliding_window=29)),
    "mistral, no window, no pad": ("mistral", None, MistralConfig(**SIZES, sliding_window=None)),
    "qwen2, window": ("qwen2.5", "<|endoftext|>", Qwen2Config(**SIZES, sliding_window=19, **local_from(1))),
    "qwen2, no window": ("qwen2.5", "<|endoftext|>", Qwen2Config(**SIZES, use_sliding_window=False)),
    "qwen3, tied": ("qwen3", "<|endoftext|>", Qwen3Config(**SIZES, tie_word_embeddings=True)),
    "qwen3, window, biases": (
        "qwen3",
        "<|endoftext|>",
        Qwen3Config(**SIZES, attention_bias=True, sliding_window=23, **local_from(2)),
    ),
    "gemma2, caps": (
        "gemma2",
        "<pad>",
        Gemma2Config(
            **{**SIZES, "head_dim": 22},
            sliding_window=17,
            query_pre_attn_scalar=33,
            attn_logit_softcapping=7.0,
            final_logit_softcapping=30.0,
        ),
    ),
    "gemma2, no caps, biases": (
        "gemma2",
        "<pad>",
        Gemma2Config(
            **SIZES,
            sliding_window=21,
            attention_bias=True,
            attn_logit_softcapping=None,
            final_logit_softcapping=None,
        ),
    ),
    "gpt_neox, parallel": ("pythia", None, GPTNeoXConfig(**NEOX, **rope(partial_rotary_factor=0.25))),
    "gpt_neox, sequential, no biases": (
        "pythia",
        "<|endoftext|>",
        GPTNeoXConfig(**NEOX, **rope(partial_rotary_factor=0.5), use_parallel_residual=False, attention_bias=False),
    ),
    "gpt_neox, linear rope, gelu_fast": (
        "pythia",
        None,
        GPTNeoXConfig(**NEOX, **rope("linear", factor=3.0, partial_rotary_factor=0.25), hidden_act="gelu_fast"),
    ),
    "gpt_neox, all channels": ("pythia", None, GPTNeoXConfig(**NEOX, **rope(partial_rotary_factor=1.0))),
    "gpt2": (
        "smollm2",
        None,
        GPT2Config(vocab_size=1237, n_positions=4096, n_embd=80, n_layer=LAYERS, n_head=10, n_inner=100),
    ),
}


def conversations(chat, count=20):
    """(prompt, answer) pairs; every fourth answer is long. Those without any text are left out."""
    prompts = [p for p in CONVERSATIONS.values() if p[0].role != "system" or CHATS[chat].takes_system]
    answers = [answer for answer in ANSWERS if answer.strip()]
    long = [f"{CODE}\n\n  {EMOJI} " * (i // 2) if i % 4 == 0 else "" for i in range(count)]
    return [(prompts[i % len(prompts)], answers[i] + long[i] + answers[-i]) for i in range(count)]


def write(folder, chat, pad, config):
    """A random classifier with its tokenizer. Returns it."""
    hf = chat_tokenizer(chat)
    hf.pad_token = pad
    hf.save_pretrained(folder)
    config.num_labels = config.num_labels if config.num_labels > 2 else 1
    config.pad_token_id, config.bos_token_id, config.eos_token_id = hf.pad_token_id, hf.bos_token_id, hf.eos_token_id
    assert config.vocab_size >= len(hf)
    options = {"attn_implementation": "eager", "dtype": torch.float32}
    there = AutoModelForSequenceClassification.from_config(config, **options).eval()
    offset = 0.0 if config.model_type == "gemma2" else 1.0
    generate.randomise(there, torch.Generator().manual_seed(3), offset=offset)
    there.save_pretrained(folder)
    return there


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_torchs_on_what_the_template_writes(tmp_path, kind):
    chat, pad, config = KINDS[kind]
    there, texts = write(tmp_path, chat, pad, config), conversations(chat)
    hf, expected, lengths = AutoTokenizer.from_pretrained(tmp_path), [], []
    for prompt, answer in texts:
        messages = [message._asdict() for message in (*prompt, Message("assistant", answer))]
        ids = hf.apply_chat_template(messages, tokenize=True, return_dict=False)
        lengths.append(len(ids))
        with torch.no_grad():
            expected.append(there(torch.tensor([ids])).logits[0].numpy())
    prompts, answers = zip(*texts, strict=True)
    scores = rmjax.load(tmp_path, devices=1).raw(prompts, [[answer] for answer in answers])
    error = float(np.max(np.abs(np.concatenate(scores) - expected) / np.std(expected, axis=0)))
    print(f"\n{kind}: {error:.1e} of the spread, {min(lengths)} to {max(lengths)} tokens")
    assert max(lengths) > 600
    assert error < TOLERANCE
