"""Accuracy of judges that do not read, on the embedded corpus.

    python benchmarks/shortcuts.py

Each judge is a Bradley-Terry regression on features of one response and its prompt, without a language model. It learns
from all training comparisons; the strength of its L2 penalty is chosen on the validation comparisons. The share is that
of the gain that a judge with the true rewards has over guessing.
"""

from __future__ import annotations

import itertools
import re
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from absl import flags
from scipy import optimize, sparse

from rmjax.cli import runtime, script
from rmjax.data.comparisons import Comparison, Prompt
from rmjax.data.gold import lookups, texts
from rmjax.data.gold.corpus import comparisons
from rmjax.evaluation.metrics import bayes_accuracy
from rmjax.evaluation.text_table import markdown_table, percent

BUCKETS = 2**16  # of hashed features
PENALTIES = (0.1, 1.0, 10.0)
WORD = re.compile(r"[\w']+|[?!.,]")
ITEMS = frozenset((*lookups.ITEM_FAMILY, *texts.TASK_NOUNS))
VALUES = frozenset(value.lower() for family in lookups.LOOKUPS.values() for value in family.values)

Features = Callable[[Prompt, str], Iterator[str]]


def words(text: str) -> list[str]:
    """Returns words and punctuation in lower case."""
    return WORD.findall(text.lower())


def response(_: Prompt, text: str) -> Iterator[str]:
    """Words and pairs of words of the response, and its length."""
    found = words(text)
    yield from found
    yield from (" ".join(pair) for pair in itertools.pairwise(found))
    yield f"{min(len(found), 30)} words"


def membership(prompt: Prompt, text: str) -> Iterator[str]:
    """The response; are its values in the prompt, and its items in the last sentence?"""
    yield from response(prompt, text)
    found = set(words(text))
    said = {word for message in prompt for word in words(message.content)}
    stated, asked = found & VALUES <= said, found & ITEMS <= set(question(prompt))
    yield f"{bool(found & VALUES)} {bool(found & ITEMS)} {stated} {asked}"


def crosses(prompt: Prompt, text: str) -> Iterator[str]:
    """The response, and each of its words with each word of the prompt."""
    yield from response(prompt, text)
    said = {word for message in prompt for word in words(message.content)}
    yield from (f"{one}|{other}" for one in said for other in set(words(text)))


def nearest(prompt: Prompt, text: str) -> Iterator[str]:
    """Membership; is the value of the response the one next to the asked item?"""
    yield from membership(prompt, text)
    said = [word for message in prompt for word in words(message.content)]
    said = said[: len(said) - len(question(prompt))]
    values = [(place, word) for place, word in enumerate(said) if word in VALUES]
    places = [place for place, word in enumerate(said) if word in ITEMS & set(question(prompt))]
    if values and places:
        yield f"nearest {min(values, key=lambda value: abs(value[0] - places[-1]))[1] in words(text)}"


def question(prompt: Prompt) -> list[str]:
    """Returns the words of the last sentence of a prompt."""
    return words(re.split(r"(?<=[.?!]) ", prompt[-1].content.strip())[-1])


JUDGES: dict[str, Features] = {
    "words of the response": response,
    "words of prompt x response": crosses,
    "membership of value and item": membership,
    "value next to the asked item": nearest,
}


def differences(drawn: Sequence[Comparison], features: Features) -> sparse.csr_matrix:
    """Returns hashed features of the winner less those of the loser, a row for each pair `[P, BUCKETS]`."""
    columns: list[int] = []
    ends = [0]
    winners: list[int] = []
    losers: list[int] = []
    for comparison in drawn:
        winners += [len(ends) - 1 + pair.winner for pair in comparison.pairs]
        losers += [len(ends) - 1 + pair.loser for pair in comparison.pairs]
        for text in comparison.responses:
            columns += [zlib.crc32(name.encode()) % BUCKETS for name in features(comparison.prompt, text)]
            ends.append(len(columns))
    table = sparse.csr_matrix((np.ones(len(columns), np.float32), columns, ends), shape=(len(ends) - 1, BUCKETS))
    return table[winners] - table[losers]


def fit(differences: sparse.csr_matrix, penalty: float) -> np.ndarray:
    """Returns the weights of a Bradley-Terry regression with an L2 penalty, `[BUCKETS]`."""

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        gap = differences @ weights
        value = np.logaddexp(0, -gap).sum() + penalty / 2 * weights @ weights
        return value, differences.T @ (-1 / (1 + np.exp(gap))) + penalty * weights

    return optimize.minimize(loss, np.zeros(BUCKETS), jac=True, method="L-BFGS-B", options={"maxiter": 100}).x


def accuracy(differences: sparse.csr_matrix, weights: np.ndarray) -> float:
    """Returns the share of pairs in the right order; a tie counts half."""
    gap = differences @ weights
    return float(np.mean((gap > 0) + 0.5 * (gap == 0)))


def main() -> None:
    name = flags.FLAGS.corpus
    splits = {split: comparisons(name, split) for split in ("train", "validation", "test")}
    utilities = [(c.utilities or (), pair) for c in splits["test"] for pair in c.pairs]
    ceiling = bayes_accuracy(np.array([given[pair.winner] - given[pair.loser] for given, pair in utilities]))
    header = ("judge", f"accuracy on gold/{name}", "share of the gain")
    rows = [header, ("true rewards (ceiling)", percent(ceiling), "100 %")]
    for judge, features in JUDGES.items():
        table = {split: differences(drawn, features) for split, drawn in splits.items()}
        fitted = [fit(table["train"], penalty) for penalty in PENALTIES]
        best = max(fitted, key=lambda weights: accuracy(table["validation"], weights))
        found = accuracy(table["test"], best)
        rows.append((judge, percent(found), percent((found - 0.5) / (ceiling - 0.5))))
        print(judge, percent(found), file=sys.stderr, flush=True)
    print(markdown_table(rows))


if __name__ == "__main__":
    runtime.prepare_process()
    flags.DEFINE_enum("corpus", "helpful", ["helpful", "safety"], "Name of the corpus.")
    script.run(main)
