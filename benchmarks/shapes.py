"""Checkpoints of well-known shapes with random weights, for benchmarks of speed, which does not depend on weights."""

from __future__ import annotations

from pathlib import Path

SHAPES = ("minilm", "pythia-70m", "pythia-160m", "pythia-410m", "pythia-1b", "pythia-1.4b", "tinyllama")

# Language models to sample from; `default` is that of configs/helpful.py:scratch.
LANGUAGE_MODELS = ("default", "pythia-70m", "smollm2-135m")

# width, layers, heads (2304.01373, table 1)
PYTHIA = {
    "pythia-70m": (512, 6, 8),
    "pythia-160m": (768, 12, 12),
    "pythia-410m": (1024, 24, 16),
    "pythia-1b": (2048, 16, 8),
    "pythia-1.4b": (2048, 24, 16),
}


def write_shape(name: str, folder: Path, tokenizer: Path) -> None:
    """Writes a sequence classifier of that shape in Hugging Face's format, with its torch class, unless it exists.

    Its tokenizer is the one in the folder `tokenizer` for every shape, so that every contender gets the same ids.
    """
    if (folder / "config.json").is_file():
        return
    import torch
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        BertConfig,
        GPTNeoXConfig,
        LlamaConfig,
    )

    if name == "minilm":
        config = BertConfig(
            hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536, num_labels=1
        )
    elif name == "tinyllama":
        config = LlamaConfig(
            hidden_size=2048,
            num_hidden_layers=22,
            num_attention_heads=32,
            num_key_value_heads=4,
            intermediate_size=5632,
            num_labels=1,
        )
    else:
        config = GPTNeoXConfig(**pythia_fields(name), num_labels=1)
    config.pad_token_id = 0
    torch.manual_seed(0)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)


def pythia_fields(name: str) -> dict[str, int]:
    """Returns the sizes of a Pythia model, as fields of `GPTNeoXConfig`."""
    width, layers, heads = PYTHIA[name]
    return {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "vocab_size": 50304,
    }


def write_language_model(name: str, folder: Path) -> None:
    """Writes a causal language model of that shape in Hugging Face's format without a tokenizer, unless it exists."""
    if (folder / "config.json").is_file():
        return
    import torch
    from transformers import AutoModelForCausalLM, GPTNeoXConfig, LlamaConfig

    if name in PYTHIA:
        config = GPTNeoXConfig(**pythia_fields(name))
    else:
        # width, layers, heads, key/value heads, MLP, vocabulary
        sizes = {"default": (96, 3, 3, 3, 256, 1280), "smollm2-135m": (576, 30, 9, 3, 1536, 49152)}[name]
        width, layers, heads, kv_heads, mlp, vocab = sizes
        config = LlamaConfig(
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            intermediate_size=mlp,
            vocab_size=vocab,
            tie_word_embeddings=True,
        )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)


def write_word_classifier(name: str, folder: Path, dtype: str) -> None:
    """Writes a sequence classifier of a Pythia shape and the tokenizer of `write_word_tokenizer`, unless it exists."""
    if (folder / "config.json").is_file():
        return
    import torch
    from transformers import AutoModelForSequenceClassification, GPTNeoXConfig

    fields = pythia_fields(name)
    config = GPTNeoXConfig(**fields, num_labels=1, pad_token_id=1, eos_token_id=0)
    torch.manual_seed(1)
    AutoModelForSequenceClassification.from_config(config).to(getattr(torch, dtype)).save_pretrained(folder)
    write_word_tokenizer(folder, fields["vocab_size"])


def write_word_tokenizer(folder: Path, vocab: int) -> None:
    """Writes a tokenizer in which token i is the text `<i>`, so that any ids are a text that gives the same ids.

    Token 0 is the end, token 1 is padding. The chat template joins the messages, and ends an answer with token 0.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({f"<{i}>": i for i in range(vocab)}, unk_token="<2>"))
    words.pre_tokenizer = pre_tokenizers.Split(Regex("<[0-9]+>"), "isolated")
    words.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<0>", pad_token="<1>")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['content'] }}{% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %}"
        "{% endfor %}"
    )
    tokenizer.save_pretrained(folder)
