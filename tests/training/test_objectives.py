"""Objectives on made-up scores, against hand arithmetic and NumPy."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import user
from naive import assert_close, hidden_states, make_example, make_params, one_bin

from rmjax.data.batch import BatchShape
from rmjax.data.comparisons import Comparison
from rmjax.data.examples import PairRule, encode_comparisons
from rmjax.errors import InputError
from rmjax.models.config import default_head
from rmjax.models.logprobs import NextTokenModel, next_token_model, previous_index
from rmjax.models.reward import RewardTransformer
from rmjax.models.transformer import LanguageModel
from rmjax.stages.reward import make_objective
from rmjax.training.losses import MARGINS
from rmjax.training.objectives import LossConfig, ranking_objective, rating_objective, sft_objective
from rmjax.training.step import ratios

SHAPE = BatchShape(4, 64, 16, 32)


def config(**changes):
    return LossConfig(**changes)


def given_scores(scores_NxZ, _):
    """An `apply` whose parameters are the scores themselves."""
    return scores_NxZ


def in_slots(scores, slots, heads=1):
    """Scores [K] or [K, Z] of every example -> scores [N, Z]; empty slots have an arbitrary number."""
    out = np.full((SHAPE.responses, heads), 77.0, np.float32)
    for n, (i, k) in enumerate(slots):
        out[n] = scores[i][k]
    return jnp.asarray(out)


def evaluated(objective, examples, scores, heads=1):
    """(metrics, weight) of examples that have the given scores."""
    batch, slots = one_bin(examples, SHAPE)
    _, sums = objective(in_slots(scores, slots, heads), batch)
    return {name: float(value) for name, value in ratios(sums).items()}, float(sums["weight"])


def responses(K):
    return [[5 + k, 2] for k in range(K)]


def nll(gap):
    return math.log1p(math.exp(-gap))


def test_the_loss_of_one_pair_by_hand():
    """Scores 2 and 0.5: -log sigmoid(1.5) = 0.2014."""
    metrics, weight = evaluated(
        ranking_objective(given_scores, config()), [make_example([3], responses(2))], [[2, 0.5]]
    )
    assert metrics["loss"] == pytest.approx(0.201413, abs=1e-6)
    assert metrics["accuracy"] == 1
    assert metrics["gap"] == pytest.approx(1.5)
    assert weight == 1


def test_a_comparison_of_four_weighs_as_much_as_a_pair():
    four, pair = [1.0, 0.5, -1.0, 2.0], [0.0, 3.0]
    examples = [make_example([3], responses(4)), make_example([3], responses(2))]
    metrics, weight = evaluated(ranking_objective(given_scores, config()), examples, [four, pair])
    of_four = sum(nll(four[i] - four[j]) for i in range(4) for j in range(i + 1, 4)) / 6
    assert weight == pytest.approx(2)
    assert metrics["loss"] == pytest.approx((of_four + nll(-3.0)) / 2, rel=1e-6)
    # Accuracy and gap count pairs, not comparisons: 3 of 7 are right.
    assert metrics["accuracy"] == pytest.approx(3 / 7)
    assert metrics["gap"] == pytest.approx((0.5 + 2 - 1 + 1.5 - 1.5 - 3 - 3) / 7, abs=1e-6)


def test_equal_scores_are_half_right():
    metrics, _ = evaluated(ranking_objective(given_scores, config()), [make_example([3], responses(2))], [[1, 1]])
    assert metrics["accuracy"] == 0.5
    assert metrics["loss"] == pytest.approx(math.log(2), rel=1e-6)


def judged(tokenizer, ranks, loss, **fields):
    """A comparison as the training script encodes it for a loss."""
    margins = None if loss.margin in ("none", "given") else MARGINS[loss.margin]
    rule = PairRule(keep_ties=loss.ties != "skip", margins=margins, given=loss.margin == "given")
    texts = tuple(f"answer {k}" for k in range(len(ranks)))
    return encode_comparisons([Comparison(user("q"), texts, ranks, **fields)], tokenizer, ("helpful",), rule)


SCORES = [1.0, 0.25, -0.5]  # judged 1, 1, 2: the first two are tied


@pytest.mark.parametrize(
    ("ties", "expected"),
    [
        ("skip", (nll(1.5) + nll(0.75)) / 2),
        ("half", (0.5 * nll(0.75) + 0.5 * nll(-0.75) + nll(1.5) + nll(0.75)) / 3),
        (
            "rao_kupper",
            (-math.log(math.e - 1) + nll(0.75 - 0.5) + nll(-0.75 - 0.5) + nll(1.5 - 0.5) + nll(0.75 - 0.5)) / 3,
        ),
    ],
)
def test_ties_by_hand(tokenizer, ties, expected):
    loss = config(ties=ties, tie_threshold=0.5 if ties == "rao_kupper" else 0.0)
    metrics, weight = evaluated(ranking_objective(given_scores, loss), judged(tokenizer, (1, 1, 2), loss), [SCORES])
    assert metrics["loss"] == pytest.approx(expected, rel=1e-6)
    assert weight == pytest.approx(1)
    assert metrics["accuracy"] == 1  # ties are not counted
    assert metrics["gap"] == pytest.approx((1.5 + 0.75) / 2)


@pytest.mark.parametrize(("margin", "expected"), [("small", nll(1.5 - 1)), ("large", nll(1.5 - 3)), ("none", nll(1.5))])
def test_margins_by_strength(tokenizer, margin, expected):
    loss = config(margin=margin)
    examples = judged(tokenizer, (1, 2), loss, strengths=("significantly_better",))
    metrics, _ = evaluated(ranking_objective(given_scores, loss), examples, [[2, 0.5]])
    assert metrics["loss"] == pytest.approx(expected, rel=1e-6)
    assert metrics["gap"] == pytest.approx(1.5)  # the margin is the loss's, not the model's


def test_given_margins(tokenizer):
    loss = config(margin="given")
    examples = judged(tokenizer, (2, 1), loss, margins=(0.25,))
    metrics, _ = evaluated(ranking_objective(given_scores, loss), examples, [[0.5, 2]])
    assert metrics["loss"] == pytest.approx(nll(1.25), rel=1e-6)


def test_label_smoothing_and_centering_by_hand():
    example = make_example([3], responses(2))
    metrics, _ = evaluated(ranking_objective(given_scores, config(label_smoothing=0.1)), [example], [[2, 0.5]])
    assert metrics["loss"] == pytest.approx(0.9 * nll(1.5) + 0.1 * nll(-1.5), rel=1e-6)
    metrics, _ = evaluated(ranking_objective(given_scores, config(center_coef=0.01)), [example], [[2, 0.5]])
    assert metrics["loss"] == pytest.approx(nll(1.5) + 0.01 * 2.5**2, rel=1e-6)


def test_a_gradient_reaches_only_the_head_of_its_comparison():
    examples = [make_example([3], responses(2), head=0), make_example([3], responses(3), head=2)]
    batch, slots = one_bin(examples, SHAPE)
    objective = ranking_objective(given_scores, config())
    rng = np.random.default_rng(0)
    scores = in_slots([rng.normal(size=(len(e.responses), 3)) for e in examples], slots, heads=3)
    gradient, _ = jax.grad(objective, has_aux=True)(scores, batch)
    touched = np.asarray(gradient) != 0
    expected = np.zeros_like(touched)
    for n, (i, _) in enumerate(slots):
        expected[n, examples[i].head] = True
    assert touched.tolist() == expected.tolist()


def test_classification_by_hand():
    """A pair with the scores 2 and 0.5, and 1, -1, 3 as places 1, 2, 3: means over one and three pairs."""
    examples = [make_example([3], responses(2)), make_example([3], responses(3))]
    metrics, weight = evaluated(
        ranking_objective(given_scores, config(name="classification")), examples, [[2, 0.5], [1, -1, 3]]
    )
    first = (nll(2) + nll(-0.5)) / 2
    second = sum(nll(winner) + nll(-loser) for winner, loser in ((1, -1), (1, 3), (-1, 3))) / 6
    assert metrics["loss"] == pytest.approx((first + second) / 2, rel=1e-6)
    assert weight == pytest.approx(2)
    assert metrics["accuracy"] == pytest.approx(2 / 4)


def test_squared_error_is_averaged_over_responses():
    """Errors 1, 2 and 0, 0, 3: (1 + 4 + 9) / 5."""
    examples = [
        make_example([3], responses(2), ratings=np.array([4, 1], np.float32)),
        make_example([3], responses(3), ratings=np.array([0, -1, 2], np.float32)),
    ]
    metrics, weight = evaluated(rating_objective(given_scores), examples, [[3, 3], [0, -1, 5]])
    assert metrics["loss"] == pytest.approx(14 / 5)
    assert weight == 5
    # Pairs: 3 = 3 counts half, 0 > -1 right, 0 < 5 and -1 < 5 wrong.
    assert metrics["accuracy"] == pytest.approx(1.5 / 4)


def unsafe(*labels):
    return np.array(labels, bool)


def test_the_auxiliary_term_by_hand():
    """A pair and a triple with labels, a pair without: means over 2 and 3 responses, over 3 comparisons."""
    examples = [
        make_example([3], responses(2), unsafe=unsafe(0, 1)),
        make_example([3], responses(3), unsafe=unsafe(0, 0, 1)),
        make_example([3], responses(2)),
    ]
    scores = [[2, 0.5], [1, -1, 3], [5, -5]]
    plain, _ = evaluated(ranking_objective(given_scores, config()), examples, scores)
    metrics, weight = evaluated(ranking_objective(given_scores, config(safety_coef=0.1)), examples, scores)
    pair, triple = (nll(2) + nll(-0.5)) / 2, (nll(1) + nll(-1) + nll(-3)) / 3
    assert plain.keys() == metrics.keys() - {"auxiliary"}
    assert weight == pytest.approx(3)
    assert metrics["auxiliary"] == pytest.approx((pair + triple) / 2, rel=1e-6)
    assert metrics["loss"] == pytest.approx(plain["loss"] + 0.1 * (pair + triple) / 3, rel=1e-6)
    assert metrics["accuracy"] == plain["accuracy"]


def test_the_gradient_of_the_auxiliary_term():
    """Against finite differences of the whole loss in float64, with two heads and an empty slot."""
    examples = [
        make_example([3], responses(3), head=1, unsafe=unsafe(1, 0, 1)),
        make_example([3], responses(2), head=0),
        make_example([3], responses(2), head=0, unsafe=unsafe(1, 1)),
    ]
    rng = np.random.default_rng(0)
    scores = [rng.normal(size=(len(e.responses), 2)) for e in examples]
    batch, slots = one_bin(examples, SHAPE)

    def oracle(scores):
        total = 0.0
        for example, table in zip(examples, scores, strict=True):
            r = table[:, example.head]
            total += np.mean([nll(r[i] - r[j]) for i, j in zip(example.winner, example.loser, strict=True)])
            if example.unsafe is not None:
                total += 0.3 * np.mean([nll(-x if bad else x) for x, bad in zip(r, example.unsafe, strict=True)])
        return total

    objective = ranking_objective(given_scores, config(safety_coef=0.3))
    gradient = np.asarray(jax.grad(objective, has_aux=True)(in_slots(scores, slots, 2), batch)[0])
    expected = np.zeros_like(gradient)
    for n, (i, k) in enumerate(slots):
        for z in range(2):
            up, down = ([s.copy() for s in scores] for _ in range(2))
            up[i][k, z] += 1e-5
            down[i][k, z] -= 1e-5
            expected[n, z] = (oracle(up) - oracle(down)) / 2e-5
    np.testing.assert_allclose(gradient, expected, atol=2e-6)
    assert not gradient[len(slots) :].any()


def test_unknown_labels_change_nothing():
    examples = [make_example([3], responses(3)), make_example([3], responses(2))]
    batch, slots = one_bin(examples, SHAPE)
    scores = in_slots([[2.0, 0.5, 1.0], [-1.0, 3.0]], slots)
    (without, sums), plain = jax.value_and_grad(ranking_objective(given_scores, config()), has_aux=True)(scores, batch)
    objective = ranking_objective(given_scores, config(safety_coef=0.5))
    (loss, with_sums), gradient = jax.value_and_grad(objective, has_aux=True)(scores, batch)
    assert float(loss) == float(without)
    np.testing.assert_array_equal(gradient, plain)
    assert {name: float(with_sums[name]) for name in sums} == {name: float(value) for name, value in sums.items()}
    assert float(ratios(with_sums)["auxiliary"]) == 0


def test_labels_are_not_used_without_a_coefficient():
    labelled, bare = ([make_example([3], responses(2), **fields)] for fields in ({"unsafe": unsafe(1, 0)}, {}))
    objective = ranking_objective(given_scores, config())
    assert evaluated(objective, labelled, [[2, 0.5]]) == evaluated(objective, bare, [[2, 0.5]])


def test_a_tie_that_is_left_out_has_no_weight_in_the_auxiliary_term(tokenizer):
    """Alone in a batch its term would be divided by no weight at all; modelled, it counts like any other."""
    labels = {"unsafe": (True, True)}
    skip, half = config(safety_coef=1.0), config(safety_coef=1.0, ties="half")
    metrics, weight = evaluated(
        ranking_objective(given_scores, skip), judged(tokenizer, (1, 1), skip, **labels), [[1, 0]]
    )
    assert (metrics["loss"], metrics["auxiliary"], weight) == (0, 0, 0)
    metrics, weight = evaluated(
        ranking_objective(given_scores, half), judged(tokenizer, (1, 1), half, **labels), [[1, 0]]
    )
    assert metrics["auxiliary"] == pytest.approx((nll(-1) + nll(0)) / 2, rel=1e-6)
    assert metrics["loss"] == pytest.approx((nll(1) + nll(-1)) / 2 + (nll(-1) + nll(0)) / 2, rel=1e-6)
    assert weight == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"name": "no_such_loss"},
            "name must be one of bradley_terry, classification, squared_error, found 'no_such_loss'",
        ),
        ({"margin": "huge"}, "margin must be one of none, small, large, given, found 'huge'"),
        ({"ties": "drop"}, "ties must be one of skip, half, rao_kupper, found 'drop'"),
        ({"label_smoothing": 0.5}, r"label_smoothing must be in \[0, 0.5\)"),
        ({"label_smoothing": -0.1}, "label_smoothing"),
        ({"ties": "rao_kupper", "tie_threshold": 0.0}, "tie_threshold must be positive"),
        ({"ties": "rao_kupper", "tie_threshold": 1.0, "margin": "small"}, "set label_smoothing=0 and margin=none"),
        ({"ties": "rao_kupper", "tie_threshold": 1.0, "label_smoothing": 0.1}, "set label_smoothing=0"),
        ({"ties": "rao_kupper", "tie_threshold": math.nan}, "tie_threshold must be positive"),
        ({"ties": "rao_kupper", "tie_threshold": math.inf}, "tie_threshold must be positive"),
        ({"label_smoothing": math.nan}, "label_smoothing"),
        ({"center_coef": -0.01}, "center_coef must not be negative"),
        ({"center_coef": math.nan}, "center_coef"),
        ({"center_coef": math.inf}, "center_coef"),
        ({"safety_coef": -0.1}, "safety_coef must not be negative, found -0.1"),
        ({"safety_coef": math.nan}, "safety_coef"),
        ({"safety_coef": math.inf}, "safety_coef"),
        ({"lm_coef": -0.1}, "lm_coef must not be negative, found -0.1"),
        ({"name": "classification", "margin": "small"}, "classification makes the score the logit .* set margin=none"),
        ({"name": "classification", "label_smoothing": 0.1}, "classification makes .*label_smoothing=0"),
        ({"name": "classification", "ties": "half"}, "classification makes .*ties=skip"),
        ({"name": "classification", "center_coef": 0.01}, "classification makes .*center_coef=0"),
        ({"name": "classification", "safety_coef": 0.1}, "classification makes .*safety_coef=0"),
        ({"name": "squared_error", "lm_coef": 0.1}, "squared_error uses no pairs: set .* lm_coef=0"),
        ({"name": "squared_error", "safety_coef": 0.1}, "squared_error makes the score a rating.*set safety_coef=0"),
        ({"name": "squared_error", "margin": "small"}, "squared_error uses no pairs: set margin=none"),
        ({"name": "squared_error", "label_smoothing": 0.1}, "squared_error uses no pairs: .*label_smoothing=0"),
        ({"name": "squared_error", "ties": "half"}, "squared_error uses no pairs: .*ties=skip"),
        ({"name": "squared_error", "ties": "rao_kupper", "tie_threshold": 0.5}, "squared_error uses no pairs"),
        ({"name": "squared_error", "center_coef": 0.01}, "squared_error uses no pairs: .*center_coef=0"),
    ],
)
def test_settings_out_of_range_are_named(changes, message):
    with pytest.raises(InputError, match=message):
        config(**changes)


def test_squared_error_ignores_a_threshold_that_nothing_uses():
    assert config(name="squared_error", tie_threshold=0.5).name == "squared_error"


def demonstrations():
    return [
        make_example([3, 4, 5], [[6, 7, 1]], pairs=[]),
        make_example([8], [[9, 10, 11, 1]], pairs=[]),
        make_example([12, 13], [[1]], pairs=[]),
    ]


def logits_model(logits):
    """A model without a head: `logits` is (params, batch) -> logits `[R, L, V]`."""
    return NextTokenModel(logits, lambda params: (), lambda _, part: part)


def test_sft_is_the_cross_entropy_of_every_response_token_alone(tiny_trunk):
    """Nats per token over 3 + 4 + 1 tokens, EOS included, each sequence on its own in NumPy."""
    model = LanguageModel(tiny_trunk, jnp.dtype("float32"))
    params = make_params(model)
    losses, correct = [], []
    for example in demonstrations():
        ids = np.concatenate([example.prompt, example.responses[0]])
        logits = hidden_states(params["trunk"], tiny_trunk, ids) @ np.asarray(params["output"]["kernel"], np.float64)
        for t in range(len(example.prompt), len(ids)):
            losses.append(np.log(np.exp(logits[t - 1]).sum()) - logits[t - 1, ids[t]])
            correct.append(logits[t - 1].argmax() == ids[t])
    objective = sft_objective(next_token_model(model))
    batch, _ = one_bin(demonstrations(), BatchShape(2, 16, 8, 8))
    _, sums = jax.jit(objective)(params, batch)
    assert float(sums["weight"]) == 8
    assert float(ratios(sums)["loss"]) == pytest.approx(np.mean(losses), rel=1e-5)
    assert float(ratios(sums)["accuracy"]) == pytest.approx(np.mean(correct))


def test_the_joint_loss_adds_the_nats_of_the_best_responses_in_numpy(tiny_trunk):
    """Of a ranking and a tie; the ranking has one best response, and the tie has none."""
    trunk = dataclasses.replace(tiny_trunk, tie_embeddings=True)
    module = RewardTransformer(trunk, default_head(("reward",), trunk), jnp.dtype("float32"))
    params = make_params(module)
    ranked = make_example([3, 4, 5], [[6, 7, 1], [8, 1], [9, 1]], pairs=[(1, 0), (1, 2), (0, 2)])
    tied = dataclasses.replace(make_example([8], [[9, 1], [10, 1]]), tied=np.ones(1, bool))
    batch, _ = one_bin([ranked, tied], BatchShape(2, 16, 8, 8))
    ids = np.array([3, 4, 5, 8, 1])
    logits = hidden_states(params["trunk"], trunk, ids) @ np.asarray(params["trunk"]["embedding"]["embedding"]).T
    nats = sum(np.log(np.exp(logits[t - 1]).sum()) - logits[t - 1, ids[t]] for t in (3, 4))

    loss = config(lm_coef=0.3, ties="half")
    (joint, sums), gradient = jax.value_and_grad(make_objective(module, loss), has_aux=True)(params, batch)
    plain, ranking = make_objective(module, config(ties="half"))(params, batch)
    assert float(joint) == pytest.approx(float(plain) + 0.3 * nats, rel=1e-5)
    assert (float(sums["weight"]), float(sums["lm_loss_weight"])) == (float(ranking["weight"]), 1.0)
    assert float(ratios(sums)["lm_loss"]) == pytest.approx(nats, rel=1e-5)
    assert float(sums["accuracy"]) == float(ranking["accuracy"])
    assert np.abs(gradient["trunk"]["embedding"]["embedding"][2]).max() > 0  # an id of no text: only its logit counts


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tie_embeddings": False}, "lm_coef needs a causal trunk with tied embeddings, and .* not tied"),
        ({"causal": False}, "lm_coef needs a causal trunk with tied embeddings, and this one is an encoder"),
    ],
)
def test_a_joint_loss_needs_a_language_model_with_tied_embeddings(tiny_trunk, changes, message):
    trunk = dataclasses.replace(tiny_trunk, **{"tie_embeddings": True, **changes})
    with pytest.raises(InputError, match=message):
        make_objective(
            RewardTransformer(trunk, default_head(("reward",), trunk), jnp.dtype("float32")), config(lm_coef=0.1)
        )


def random_answers(seed=0):
    """Prompts with three responses each."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 6, (4, 4))
    return [
        make_example(rng.integers(1, 20, prompt), [rng.integers(1, 20, n) for n in answers], pairs=[])
        for prompt, *answers in lengths
    ]


def test_sft_predicts_every_response_of_a_shared_prompt_from_the_prompt():
    """The logits are a function of the whole text so far. The oracle has a separate row for every prompt + response."""
    examples = random_answers()
    table = np.random.default_rng(1).normal(size=(20, 32, 20))

    def losses_of(prompt, response):
        ids = [*prompt, *response]
        for t in range(len(prompt), len(ids)):
            logits = table[ids[t - 1], t - 1]
            yield np.log(np.exp(logits).sum()) - logits[ids[t]], logits.argmax() == ids[t]

    alone = np.array([pair for e in examples for response in e.responses for pair in losses_of(e.prompt, response)])
    objective = sft_objective(logits_model(lambda params, batch: params[batch.tokens_RxL, batch.positions_RxL]))
    for share_prompts in (True, False):
        batch, _ = one_bin(examples, BatchShape(8, 24, 16, 8), share_prompts=share_prompts)
        _, sums = jax.jit(objective)(jnp.asarray(table, jnp.float32), batch)
        assert float(sums["weight"]) == len(alone)
        assert float(ratios(sums)["loss"]) == pytest.approx(alone[:, 0].mean(), rel=1e-5)
        assert float(ratios(sums)["accuracy"]) == pytest.approx(alone[:, 1].mean(), rel=1e-6)


def test_sft_of_a_model_is_the_same_with_and_without_shared_prompts(tiny_trunk):
    model = LanguageModel(tiny_trunk, jnp.dtype("float32"))
    params = make_params(model)
    objective = sft_objective(next_token_model(model))
    shape = BatchShape(8, 24, 16, 8)
    (shared, shared_gradient), (repeated, gradient) = (
        jax.jit(jax.value_and_grad(lambda params, batch: objective(params, batch)[0]))(
            params, one_bin(random_answers(), shape, share_prompts=share_prompts)[0]
        )
        for share_prompts in (True, False)
    )
    assert float(shared) == pytest.approx(float(repeated), rel=1e-5)
    assert_close(shared_gradient, gradient, tolerance=1e-4)


def test_the_token_before_the_first_of_a_response_is_the_last_of_its_prompt():
    batch, _ = one_bin([make_example([3, 4], [[5, 1], [6, 1]]), make_example([7], [[1]])], BatchShape(1, 10, 8, 8))
    assert batch.tokens_RxL.tolist() == [[3, 4, 5, 1, 6, 1, 7, 1, 0, 0]]
    assert previous_index(batch)[0, :8].tolist() == [0, 0, 1, 2, 1, 4, 5, 6]


def test_sft_learns_nothing_from_prompts_padding_or_neighbours():
    """The gradient with respect to the logits is zero unless the next token belongs to a response."""
    batch, _ = one_bin(demonstrations(), BatchShape(2, 16, 8, 8))
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(2, 16, 20)), jnp.float32)
    gradient, _ = jax.grad(sft_objective(logits_model(lambda params, _: params)), has_aux=True)(logits, batch)
    trained = np.asarray(gradient).any(-1).astype(int)
    assert batch.tokens_RxL[0].tolist() == [3, 4, 5, 6, 7, 1, 8, 9, 10, 11, 1, 12, 13, 1, 0, 0]
    assert trained[0].tolist() == [0, 0, 1, 1, 1, 0, 1, 1, 1, 1, 0, 0, 1, 0, 0, 0]
    assert not trained[1].any()


def test_sft_accuracy_counts_the_likeliest_token():
    batch, _ = one_bin(demonstrations(), BatchShape(2, 16, 8, 8))
    next_token = np.roll(batch.tokens_RxL, -1, axis=1)
    logits = np.array(jax.nn.one_hot(next_token, 20)) * 5
    logits[0, 2] = 0
    logits[0, 2, 15] = 5  # the first token of the first response is missed
    _, sums = sft_objective(logits_model(lambda params, _: params))(jnp.asarray(logits), batch)
    assert float(ratios(sums)["accuracy"]) == pytest.approx(7 / 8)
