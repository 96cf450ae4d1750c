"""Samples with their scores: the same in parts of all sizes, and the winner among the first n."""

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import user
from naive import make_params

from rmjax.errors import InputError
from rmjax.models.transformer import LanguageModel
from rmjax.rlhf.candidates import draw_candidates
from rmjax.rlhf.scores import from_function
from rmjax.scoring.language_model import LoadedLanguageModel

FLOAT32 = jnp.dtype("float32")
PROMPTS = [user("How do I boil an egg?"), user("Why? " * 30), user("What is the capital of France?")]

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def policy(tiny_trunk, tokenizer, one_device):
    params = one_device.device_put(make_params(LanguageModel(tiny_trunk, FLOAT32)))
    return LoadedLanguageModel(params, tiny_trunk, FLOAT32, tokenizer, one_device)


@pytest.fixture(scope="module")
def sampler(policy):
    return policy.sampler(policy.settings(max_response=6))


def draw(policy, sampler, **changes):
    arguments = {
        "prompts": PROMPTS,
        "samples": 5,
        "sampler": sampler,
        "score": from_function(lambda prompt, text: len(text) - 0.5 * text.count("e")),
        "gold": {"spaces": from_function(lambda prompt, text: text.count(" ") - len(prompt[-1].content))},
        "winner_of": 3,
        "seed": 4,
        **changes,
    }
    return draw_candidates(policy, **arguments)


def test_scores_are_those_of_the_samples_and_the_winner_is_the_best_of_the_first(policy, sampler):
    found = draw(policy, sampler)
    groups = policy.generate(PROMPTS, 5, seed=4, sampler=sampler).responses
    texts = [[response.text for response in group] for group in groups]
    np.testing.assert_allclose(found.score, [[len(t) - 0.5 * t.count("e") for t in group] for group in texts])
    spaces = [[t.count(" ") - len(p[-1].content) for t in group] for p, group in zip(PROMPTS, texts, strict=True)]
    np.testing.assert_allclose(found.gold["spaces"], spaces)
    assert found.winners == [group[np.argmax(row[:3])] for group, row in zip(groups, found.score, strict=True)]
    np.testing.assert_allclose(found.winner_score, found.score[:, :3].max(1))
    assert draw(policy, sampler, winner_of=1).winners == [group[0] for group in groups]
    assert (found.score[:, 0] < found.score.max(1)).any()  # else the best of all would be the same
    assert found.cut == pytest.approx(np.mean([not r.stopped for group in groups for r in group]))
    assert found.distinct == pytest.approx(np.mean([len(set(group)) for group in texts]))
    assert found.cut_prompts == 1


@pytest.mark.parametrize("responses", [1, 10, 14])
def test_the_size_of_the_parts_changes_nothing(policy, sampler, responses):
    """One prompt at a time, although one has five samples; two; and two with room to spare."""
    whole, parts = draw(policy, sampler), draw(policy, sampler, responses=responses)
    np.testing.assert_array_equal(parts.score, whole.score)
    np.testing.assert_array_equal(parts.gold["spaces"], whole.gold["spaces"])
    assert [winner.text for winner in parts.winners] == [winner.text for winner in whole.winners]
    assert (parts.distinct, parts.cut, parts.cut_prompts) == (whole.distinct, whole.cut, whole.cut_prompts)


def test_what_cannot_be_drawn_is_an_error(policy, sampler):
    for changes, words in (
        ({"winner_of": 6}, "5 samples and n = 6"),
        ({"winner_of": 0}, "n = 0"),
        ({"prompts": []}, "0 prompts"),
    ):
        with pytest.raises(InputError, match=words):
            draw(policy, sampler, **changes)
    greedy = policy.sampler(policy.settings(max_response=6, temperature=0.0))
    with pytest.raises(InputError, match="temperature must be above 0"):
        draw(policy, greedy)
