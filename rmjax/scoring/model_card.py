"""Model card of an exported reward model."""

from __future__ import annotations

from rmjax.scoring.reward_model import RewardModel

# Description of each pooling that can be exported; see `rmjax.scoring.hub.check_head`.
POOLINGS = {"last": "the last token of the text", "first": "the first token of the text"}

CARD = """---
library_name: transformers
pipeline_tag: text-classification
tags: [reward-model, rmjax]
---

# Reward model ({head})

A scalar reward for an answer to a conversation, trained and exported by rmjax after {step} steps.

```python
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(FOLDER)
model = AutoModelForSequenceClassification.from_pretrained(FOLDER)
conversation = [
    {{"role": "user", "content": "Hi, how are you?"}},
    {{"role": "assistant", "content": "Great, and you?"}},
]
text = tokenizer.apply_chat_template(conversation, tokenize=False)
inputs = tokenizer(text, add_special_tokens=False, return_tensors="pt")
with torch.no_grad():
    print(model(**inputs).logits[0, 0].item())
```

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


def model_card(model: RewardModel, head: str, dtype: str) -> str:
    """Returns the README.md of an exported reward model."""
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
