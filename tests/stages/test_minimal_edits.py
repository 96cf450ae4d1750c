"""The share of minimal edits that a language model tells from the right answer."""

import numpy as np
import pytest

from rmjax.data.gold.edits import SUBSETS, minimal_edits
from rmjax.stages.minimal_edits import edit_accuracy


def prefers(*choices):
    """Log-probabilities of pairs: 1 prefers the right answer, -1 the edited one, 0 neither; the choices in turn."""
    return lambda params, examples: [
        np.array([[choices[i % len(choices)]], [0.0]], np.float32) for i in range(len(examples))
    ]


@pytest.mark.parametrize(("choices", "accuracy"), [((1,), 1.0), ((-1,), 0.0), ((0,), 0.5), ((1, 1, 0, -1), 0.625)])
def test_the_accuracy_counts_right_answers_that_are_preferred(choices, accuracy, tokenizer, capsys):
    found = edit_accuracy({}, prefers(*choices), tokenizer, seed=0)
    assert found["accuracy"] == accuracy
    assert found["subsets"] == dict.fromkeys(SUBSETS, accuracy)
    assert found["edits"] == len(minimal_edits())
    low, high = found["accuracy_ci95"]
    assert low <= accuracy <= high
    printed = capsys.readouterr().out
    assert f"{100 * accuracy:.1f} % of 1000 cases" in printed
    assert f"comparison {100 * accuracy:.1f} %" in printed
