"""Measurement of a language model on the embedded corpus: does it read the prompt?"""

from __future__ import annotations

from typing import Any

import numpy as np

from rmjax.data.batch import Example
from rmjax.data.examples import encode_groups
from rmjax.data.gold.edits import minimal_edits
from rmjax.data.tokenizer import Tokenizer
from rmjax.evaluation.bootstrap import Bootstrap
from rmjax.evaluation.metrics import pair_credit
from rmjax.evaluation.text_table import interval_text, percent
from rmjax.scoring.batched_forward import BatchedForward

RESAMPLES = 2000


def edit_accuracy(params: Any, forward: BatchedForward, tokenizer: Tokenizer, seed: int) -> dict[str, Any]:
    """Returns how often a language model prefers right answers of the embedded corpus to minimal edits, and prints it.

    Args:
        params: parameters of a `LanguageModel`, laid out by the layout of `forward`.
        forward: its log-probabilities.
        tokenizer: its tokenizer.
        seed: of the bootstrap.

    Returns:
        `accuracy` over all edits, its interval `accuracy_ci95`, `edits`, and the accuracy by subset (`subsets`).
    """
    edits = minimal_edits()
    prompts, answers = encode_groups(
        [edit.prompt for edit in edits], [(edit.right, edit.edited) for edit in edits], tokenizer
    )
    examples = [
        Example(prompt.ids, tuple(answer.ids for answer in pair)) for prompt, pair in zip(prompts, answers, strict=True)
    ]
    credit = pair_credit(np.array([right - edited for right, edited in (s[:, 0] for s in forward(params, examples))]))
    subset = np.array([edit.subset for edit in edits])
    result: dict[str, Any] = {
        "edits": len(edits),
        "accuracy": float(credit.mean()),
        "accuracy_ci95": list(Bootstrap(RESAMPLES, seed).accuracy_interval(credit, np.arange(len(edits))) or ()),
        "subsets": {name: float(credit[subset == name].mean()) for name in dict.fromkeys(subset.tolist())},
    }
    interval = interval_text(result["accuracy_ci95"], ", 95 % interval {}")
    kinds = ", ".join(f"{name} {percent(value)}" for name, value in result["subsets"].items())
    print(
        "It prefers the right answer to the same sentence with another value of the prompt in "
        f"{percent(result['accuracy'])} of {len(edits)} cases{interval}; chance is 50 %. By kind of prompt: {kinds}."
    )
    return result
