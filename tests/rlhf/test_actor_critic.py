"""The policy on a transformer: packed outputs equal those of separate texts, and it learns the toy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from learning import algorithm
from naive import assert_close, hidden_states, make_params, one_bin, random_examples
from toy import VOCAB, Toy

from rmjax.data.batch import BatchShape
from rmjax.errors import InputError
from rmjax.models.config import default_head
from rmjax.models.reward import RewardTransformer
from rmjax.models.sampling import Sampler
from rmjax.models.token_choice import SamplingSettings
from rmjax.models.transformer import empty_batch
from rmjax.parallel.mesh import Sharded
from rmjax.rlhf.actor_critic import ActorCritic, critic_from_reward_model, policy_apply
from rmjax.rlhf.iteration import Learner
from rmjax.rlhf.kl import KLConfig
from rmjax.rlhf.rewards import RewardTerm, sparse
from rmjax.rlhf.rollout import language_model_params, sample_with
from rmjax.rlhf.token_forward import TokenForward
from rmjax.training.step import init_state

pytestmark = pytest.mark.usefixtures("quick_compilation")


FLOAT32 = jnp.dtype("float32")


@pytest.fixture(scope="module")
def examples():
    return random_examples(5, seed=2, most=3)


def naive_output(params, config, prompt, response, critic):
    """(log-probabilities [T], values [T]) of one response after its own copy of the prompt, in float64."""
    ids = np.concatenate([prompt, response])
    before = slice(len(prompt) - 1, len(ids) - 1)
    hidden = hidden_states(params["trunk"], config, ids)[before]
    logits = hidden @ np.asarray(params["output"]["kernel"], np.float64)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    read = hidden_states(params["critic_trunk"], config, ids)[before] if critic == "separate" else hidden
    value = read @ np.asarray(params["value_head"]["kernel"], np.float64) + float(params["value_head"]["bias"])
    return log_p[np.arange(len(response)), response], value


@pytest.mark.parametrize("critic", ["shared", "separate"])
def test_packed_outputs_are_those_of_separate_texts(tiny_trunk, one_device, examples, critic):
    model = ActorCritic(tiny_trunk, FLOAT32, critic=critic)
    params = make_params(model)
    forward = TokenForward(lambda p, batch: jnp.stack(policy_apply(model)(p, batch)[::2], -1), one_device)
    found = forward(one_device.device_put(params), examples)
    expected = [
        np.stack(naive_output(params, tiny_trunk, e.prompt, response, critic), -1)
        for e in examples
        for response in e.responses
    ]
    assert [each.shape for each in found] == [each.shape for each in expected]
    assert_close(found, expected, 2e-5)


def test_entropy_is_that_of_the_predicting_distribution(tiny_trunk, examples):
    model = ActorCritic(tiny_trunk, FLOAT32)
    params = make_params(model)
    batch, slots = one_bin(examples, BatchShape(2, 96, 16, 16))
    entropy = np.asarray(jax.jit(policy_apply(model))(params, batch).entropy).reshape(-1)
    (i, k), last = slots[1], batch.responses.score_index_N[1]
    ids = np.concatenate([examples[i].prompt, examples[i].responses[k]])
    logits = hidden_states(params["trunk"], tiny_trunk, ids)[-2] @ np.asarray(params["output"]["kernel"], np.float64)
    p = np.exp(logits) / np.exp(logits).sum()
    assert entropy[last] == pytest.approx(-(p * np.log(p)).sum(), rel=1e-5)


def test_a_critic_from_a_reward_model_gives_its_scores(tiny_trunk, one_device, examples):
    """The value of the state before a token is the score of the text that ends there."""
    reward_model = RewardTransformer(tiny_trunk, default_head(("helpful",), tiny_trunk), FLOAT32)
    reward_params = make_params(reward_model, seed=1)
    model = ActorCritic(tiny_trunk, FLOAT32, critic="separate")
    params = {**make_params(model), **critic_from_reward_model(reward_params, "helpful", mean=0.5)}
    forward = TokenForward(lambda p, batch: jnp.stack(policy_apply(model)(p, batch)[::2], -1), one_device)
    values = [each[1:, 1] for each in forward(one_device.device_put(params), examples)]
    shorter = [dataclasses.replace(e, responses=tuple(r[:-1] for r in e.responses)) for e in examples]
    scores = []
    for e in shorter:
        for response in e.responses:
            hidden = hidden_states(reward_params["trunk"], tiny_trunk, np.concatenate([e.prompt, response]))
            scores.append(hidden[len(e.prompt) :] @ np.asarray(reward_params["reward"]["helpful"], np.float64) - 0.5)
    assert_close(values, scores, 2e-5)


def test_parameters_without_the_critic_are_a_language_model(tiny_trunk):
    params = make_params(ActorCritic(tiny_trunk, FLOAT32, critic="separate"))
    assert sorted(params) == ["critic_trunk", "output", "trunk", "value_head"]
    assert sorted(language_model_params(params)) == ["output", "trunk"]


def test_every_parameter_has_a_place_on_a_mesh(tiny_trunk):
    params = make_params(ActorCritic(tiny_trunk, FLOAT32, critic="separate"))
    placed = Sharded(tuple(jax.devices()[:4]), tensor=2, fsdp=True).device_put(params)
    assert jax.tree.structure(placed) == jax.tree.structure(params)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [({"critic": "both"}, "critic must be one of"), ({"critic": "separate", "causal": False}, "a causal trunk")],
)
def test_unusable_critics(tiny_trunk, changes, sentence):
    config = dataclasses.replace(tiny_trunk, causal=changes.pop("causal", True))
    with pytest.raises(InputError, match=sentence):
        ActorCritic(tiny_trunk, FLOAT32, critic_config=config, **changes).init(jax.random.key(0), empty_batch())


def test_a_transformer_learns_the_toy(tiny_trunk, one_device):
    """PPO with a value head on the trunk, through the sampler and the packed forward pass of real runs."""
    toy = Toy(limit=2)
    config = dataclasses.replace(tiny_trunk, vocab_size=VOCAB)
    model, layout, optimizer = ActorCritic(config, FLOAT32, critic="shared"), one_device, optax.adam(0.01)
    settings = SamplingSettings(max_response=toy.limit, stop=(toy.end,))
    learner = Learner(
        algorithm(toy, "ppo", samples=64, kl=KLConfig(coef=0.1), whiten=True),
        apply=policy_apply(model),
        reference=layout.device_put(make_params(model)),
        optimizer=optimizer,
        layout=layout,
        sample=sample_with(Sampler(config, FLOAT32, layout, settings), seed=0),
        decode=toy.decode,
        rewards=[RewardTerm("gold", sparse(toy.score))],
        seed=0,
    )
    prompts, ids = toy.prompts()
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        state, coef, metrics = layout.device_put(init_state(make_params(model), optimizer)), 0.1, []
        for step in range(25):
            result = learner.run(state, coef, prompts, ids, step)
            state, coef = result.state, result.coef
            metrics.append(result.metrics)
    best = toy.reward.max(1).mean()
    start, end = metrics[0]["reward"], np.mean([each["reward"] for each in metrics[-3:]])
    assert end > start + 0.6 * (best - start)
    assert max(each["sampler_gap"] for each in metrics) < 1e-4
    assert metrics[-1]["explained_variance"] > 0.2
