"""Training of a byte-level BPE tokenizer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rmjax.data.chat_template import named_template
from rmjax.data.pretrained_tokenizer import import_transformers
from rmjax.errors import InputError

PAD, EOS = "<|pad|>", "<|eos|>"
ROLE_MARKERS = ("<|system|>", "<|user|>", "<|assistant|>")


def train_bpe(texts: Iterable[str], vocab_size: int) -> Any:
    """Returns a byte-level BPE (Sennrich et al. 2016) of at most `vocab_size` ids, as a transformers fast tokenizer.

    Its alphabet contains every byte, so that every text can be encoded. Padding and EOS are different ids.

    Raises:
        InputError: `vocab_size` has no room for the bytes and the special tokens.
    """
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models, pre_tokenizers, trainers

    special = [PAD, EOS, *ROLE_MARKERS]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if vocab_size < len(alphabet) + len(special):
        raise InputError(
            f"tokenizer.vocab_size={vocab_size} is too small: {len(alphabet)} bytes and {len(special)} special tokens "
            f"need at least {len(alphabet) + len(special)}"
        )
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=special, initial_alphabet=sorted(alphabet), show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    return as_fast_tokenizer(backend.to_str())


def as_fast_tokenizer(bpe: str) -> Any:
    """Returns the transformers fast tokenizer of a BPE from `train_bpe`, given as the text of its tokenizer.json."""
    from tokenizers import Tokenizer as Backend

    tokenizer = import_transformers().PreTrainedTokenizerFast(
        tokenizer_object=Backend.from_str(bpe), pad_token=PAD, eos_token=EOS
    )
    tokenizer.chat_template = named_template("markers", tokenizer)
    return tokenizer
