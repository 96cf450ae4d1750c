"""Made-up comparisons with scores, for tests of the evaluation."""

import numpy as np

from rmjax.data.comparisons import Comparison, Message
from rmjax.evaluation.evaluate import evaluate_scores


def comparison(prompt, responses, ranks, **kwargs):
    return Comparison((Message("user", prompt),), tuple(responses), tuple(ranks), **kwargs)


def scored(comparisons, scores, bootstrap=200):
    return evaluate_scores(comparisons, [np.array(s, np.float32) for s in scores], bootstrap=bootstrap, seed=0)


def drawn(count, *, length_effect=0.0, seed=0):
    """Pairs drawn by Bradley-Terry from utilities, on which the lengths depend; the scores are the utilities."""
    generator = np.random.default_rng(seed)
    comparisons, scores = [], []
    for index in range(count):
        utilities = generator.normal(size=2) * 2.0
        first = generator.random() < 1 / (1 + np.exp(utilities[1] - utilities[0]))
        lengths = np.clip(40 + length_effect * utilities + 5 * generator.normal(size=2), 1, None).astype(int)
        comparisons.append(
            comparison(
                f"q{index}",
                ["x" * length for length in lengths],
                (1, 2) if first else (2, 1),
                utilities=tuple(utilities),
            )
        )
        scores.append(utilities)
    return comparisons, scores


def by_length(comparisons, *signs):
    """Scores of heads that prefer long responses (1) or short ones (-1)."""
    return [np.outer([len(text) for text in c.responses], signs) for c in comparisons]
