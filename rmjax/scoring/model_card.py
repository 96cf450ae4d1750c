"""Model card of an exported reward model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rmjax.evaluation.text_table import interval_text, markdown_table, percent
from rmjax.scoring.reward_model import RewardModel

# Description of each pooling that can be exported; see `rmjax.scoring.hub.check_head`.
POOLINGS = {"last": "the last token of the text", "first": "the first token of the text"}

CARD = """---
library_name: transformers
pipeline_tag: text-classification
license: unknown  # the author's choice, within the licences of the start and of the data
tags: [reward-model, rmjax]
---

# Reward model ({head})

A scalar reward for an answer to a conversation, trained and exported by rmjax after {step} steps.

```python
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

folder = {folder}  # this folder, or its name on the hub
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForSequenceClassification.from_pretrained(folder)
conversation = [
    {{"role": "user", "content": "Hi, how are you?"}},
    {{"role": "assistant", "content": "Great, and you?"}},
]
text = tokenizer.apply_chat_template(conversation, tokenize=False)
inputs = tokenizer(text, add_special_tokens=False, return_tensors="pt")
with torch.no_grad():
    print(model(**inputs).logits[0, 0].item())
```

## Results

{results}

## What a score depends on

- The text is what the chat template writes, nothing added: the conversation, then the answer, then `{ending}`.
- The score is read at {pooling}. Weights are {dtype}; rmjax computed in {compute}.
- Texts of up to {max_length} tokens were scored whole in training. Longer ones kept the end of the prompt and the
  beginning of the answer, which these tools do not do: keep texts within this length.
- Where the chat template writes the date, rmjax wrote {date}: pass a `strftime_now` that tells that day.
- rmjax reads special tokens in a message as text{unless}. These tools read them as special tokens.
- {scale}

## Where it comes from

- Trained on: {source}
- Started from: {start}
"""


def model_card(
    model: RewardModel, head: str, dtype: str, folder: Path, results: Mapping[str, Any] | None = None
) -> str:
    """Returns the README.md of an exported reward model.

    Args:
        model: the reward model.
        head: the exported head.
        dtype: of the weights.
        folder: the folder of the export, for the code on the card.
        results: the contents of `evaluation.json` of the run, if it has evaluated the model.
    """
    contract = model.contract
    scale = "Only differences between scores of one prompt mean anything: no reference texts fix their scale."
    if reference := contract.normalization.get(head):
        scale = (
            f"Scores are raw. On {reference.count} {reference.source} their mean is {reference.mean:.6g} and their "
            f"standard deviation {reference.std:.6g}: `(score - {reference.mean:.6g}) / {reference.std:.6g}` is the "
            "normalized score, which the format has no place for."
        )
    return CARD.format(
        head=head,
        folder=json.dumps(folder.as_posix()),
        results=results_in_words(head, results),
        step=contract.step,
        ending=model.tokenizer.hf.decode(contract.ending).replace("\n", "\\n"),
        pooling=POOLINGS[contract.head.pooling],
        dtype=dtype,
        compute=contract.compute_dtype,
        max_length=model.tokenizer.max_length,
        date=contract.date,
        unless="" if contract.split_special_tokens else ", but not in this model",
        scale=scale,
        source=contract.data["source"],
        start=contract.data["start"],
    )


def results_in_words(head: str, results: Mapping[str, Any] | None) -> str:
    """Returns the main results of a head as a Markdown table."""
    found = results and results["heads"].get(head)
    if not results or not found:
        return "Not evaluated by the run that trained it."
    calibration, ceiling = found["calibration_error"], found["ceiling"]
    rows = [
        ["", f"on {results['data']}, held out"],
        ["accuracy", percent(found["accuracy"]) + interval_text(found["accuracy_ci95"], " (95 % interval {})")],
        ["pairs, prompts", f"{found['pairs']:,}, {found['prompts']:,}"],
        ["the longer text wins", percent(found["length_baseline"])],
        ["ceiling of noisy labels", "unknown" if ceiling is None else percent(ceiling)],
        ["calibration error", "none" if calibration is None else percent(calibration)],
    ]
    return markdown_table(rows)
