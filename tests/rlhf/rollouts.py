"""Small rollouts by hand."""

import numpy as np

from rmjax.data.comparisons import Message
from rmjax.rlhf.rollout import Rollout, Sample

END = 0


def make_rollout(groups, step=0):
    """A list of responses (lists of ids) for each prompt -> a rollout; the text of 5 6 0 is "5 6"."""
    samples = []
    for group in groups:
        for ids in group:
            ids = np.array(ids, np.int32)
            samples.append(Sample(ids, -0.1 * (ids + 1).astype(np.float32), bool(ids[-1] == END)))
    return Rollout(
        prompts=tuple((Message("user", f"prompt {p}"),) for p in range(len(groups))),
        prompt_ids=tuple(np.array([p + 1, 9], np.int32) for p in range(len(groups))),
        group_N=np.repeat(np.arange(len(groups)), [len(group) for group in groups]),
        samples=tuple(samples),
        texts=tuple(decode(sample.ids) for sample in samples),
        step=step,
    )


def decode(ids):
    return " ".join(str(i) for i in ids if i != END)


def length_of_text(prompt, text):
    """A score: number of words, plus 10 for each prompt before this one."""
    return len(text.split()) + 10 * int(prompt[-1].content.split()[1])
