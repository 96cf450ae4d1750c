"""All kinds of reward in one iteration of a transformer with its tokenizer."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from naive import make_params

from rmjax.data.comparisons import Message
from rmjax.models.sampling import Sampler
from rmjax.models.token_choice import SamplingSettings
from rmjax.rlhf import scores
from rmjax.rlhf.actor_critic import ActorCritic, policy_apply
from rmjax.rlhf.algorithm import AlgorithmConfig
from rmjax.rlhf.iteration import Learner
from rmjax.rlhf.policy import PolicyLossConfig
from rmjax.rlhf.preference import implicit_reward
from rmjax.rlhf.prefixes import dense, prefix_scores, shaped
from rmjax.rlhf.rewards import RewardTerm, missing_end_penalty, sparse, surprisal
from rmjax.rlhf.rollout import sample_with
from rmjax.rlhf.token_forward import TokenForward
from rmjax.rlhf.trained_rewards import Discriminator, RandomDistillation
from rmjax.training.step import init_state

pytestmark = pytest.mark.usefixtures("quick_compilation")


FLOAT32 = jnp.dtype("float32")


def test_seven_kinds_add_up(tiny_trunk, tokenizer, one_device):
    model = ActorCritic(tiny_trunk, FLOAT32)
    params, other = make_params(model), one_device.device_put(make_params(model, seed=1))
    reference = one_device.device_put(make_params(model))
    hidden = TokenForward(lambda p, batch: model.apply({"params": p}, batch, method="states")[0], one_device)
    logprob = TokenForward(lambda p, batch: policy_apply(model)(p, batch).logprob[..., None], one_device)

    def features(examples):
        return hidden(reference, examples)

    def logprobs_of(weights):
        return lambda examples: [each[:, 0] for each in logprob(weights, examples)]

    prompts = [(Message("user", text),) for text in ("How do I boil an egg?", "Why?", "What is it?")]
    ids = [encoded.ids for encoded in tokenizer.encode_prompts(prompts)]
    settings = SamplingSettings(max_response=6, stop=tokenizer.ending)
    text = scores.from_function(lambda prompt, response: float(len(response)))
    score = scores.of_responses(text)
    references = {prompt: np.array([2.0, 4.0]) for prompt in prompts}
    potential = prefix_scores(text, tokenizer.decode_response, ending=len(tokenizer.ending))
    config = AlgorithmConfig(name="rloo", samples=4, credit="token", loss=PolicyLossConfig(value_coef=0.0))
    learner = Learner(
        config,
        apply=policy_apply(model),
        reference=reference,
        optimizer=optax.sgd(1e-3),
        layout=one_device,
        sample=sample_with(Sampler(tiny_trunk, FLOAT32, one_device, settings), seed=0),
        decode=tokenizer.decode_response,
        rewards=[RewardTerm("sparse", sparse(score))],
        seed=0,
    )
    state = one_device.device_put(init_state(params, optax.sgd(1e-3)))
    demonstrations = learner.run(state, 0.05, prompts, ids, 7)
    novelty = RandomDistillation(features, seed=0)
    judge = Discriminator(features, demonstrations.rollout.examples(), seed=0)
    learner.rewards = [
        RewardTerm("sparse", sparse(score), normalize=True),
        RewardTerm("dense", dense(potential), weight=0.1),
        RewardTerm("shaped", shaped(potential)),
        RewardTerm("novelty", novelty, weight=0.1, update=novelty.update),
        RewardTerm("entropy", surprisal(), weight=0.01),
        RewardTerm("adversarial", judge, update=judge.update),
        RewardTerm("implicit", implicit_reward(logprobs_of(other), logprobs_of(reference), beta=0.1)),
        RewardTerm("contrastive", sparse(scores.contrastive(score, references)), clip=5.0),
        RewardTerm("bounded", sparse(scores.bounded(score, references))),
        RewardTerm("end", missing_end_penalty(1.0)),
    ]
    result = learner.run(demonstrations.state, 0.05, prompts, ids, 8)
    metrics, rollout = result.metrics, result.rollout
    assert metrics["sampler_gap"] < 1e-4
    lengths = [len(tokenizer.decode_response(sample.ids)) for sample in rollout.samples]
    assert metrics["sparse_raw"] == metrics["dense_raw"] == pytest.approx(np.mean(lengths), rel=1e-5)
    assert metrics["shaped_raw"] == pytest.approx(0, abs=1e-4)  # -Φ of the empty response, whose length is 0
    assert {"novelty_loss", "adversarial_loss", "adversarial_accuracy"} <= metrics.keys()
    shares = [value for name, value in metrics.items() if name.startswith("share_")]
    assert len(shares) == 11
    assert sum(shares) == pytest.approx(1, abs=1e-4)
    assert all(np.isfinite(value) for value in metrics.values())
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(one_device.unreplicate(result.state.params)))
