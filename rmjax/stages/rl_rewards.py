"""Reward terms of an RL run, from its settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rmjax.data.batch import Example
from rmjax.data.examples import encode_demonstrations
from rmjax.data.sources import load_demonstrations
from rmjax.errors import InputError
from rmjax.parallel.layout import Layout
from rmjax.rlhf.actor_critic import ActorCritic, policy_apply
from rmjax.rlhf.preference import LogProbs, implicit_reward
from rmjax.rlhf.prefixes import dense, prefix_scores, shaped
from rmjax.rlhf.rewards import Reward, RewardTerm, Score, length_penalty, missing_end_penalty, sparse, surprisal
from rmjax.rlhf.rollout import Rollout, SampleFn, language_model_params, make_rollout
from rmjax.rlhf.scores import References, bounded, contrastive, of_responses, reference_scores
from rmjax.rlhf.token_forward import TokenForward
from rmjax.rlhf.trained_rewards import Discriminator, RandomDistillation
from rmjax.scoring.checkpoint import load_params, load_tokenizer
from rmjax.scoring.contract import Contract, read_contract
from rmjax.scoring.run_checkpoints import find_checkpoint
from rmjax.stages.rl_models import StartModels
from rmjax.stages.rl_settings import RlSettings

DEMONSTRATIONS = 1024  # the most demonstrations that a discriminator compares with


@dataclasses.dataclass(frozen=True)
class TrainedTerm:
    """A reward that is trained along: its array state, which a checkpoint holds.

    Attributes:
        read: returns the state.
        write: replaces the state.
        begin: makes the first state from a rollout of the start.
    """

    read: Callable[[], Any]
    write: Callable[[Any], None]
    begin: Callable[[Rollout], Any]


@dataclasses.dataclass(frozen=True)
class Rewards:
    """The terms of a run, and by name the states of those that are trained along."""

    terms: tuple[RewardTerm, ...]
    trained: dict[str, TrainedTerm]


def make_rewards(
    settings: RlSettings,
    start: StartModels,
    *,
    model: ActorCritic,
    reference: Any,
    layout: Layout,
    sample: SampleFn,
) -> Rewards:
    """Returns the reward terms that the settings describe.

    Args:
        settings: the settings of the run.
        start: the reward model, and the tokenizer of the policy.
        model: the module of the policy.
        reference: parameters of the start, laid out; its hidden states are the features of trained rewards.
        layout: the devices.
        sample: samples the reference responses of contrastive and bounded rewards.
    """
    chosen = settings.rewards
    terms = []
    if chosen.weight:
        score = score_reward(settings, start, reference, sample)
        terms.append(RewardTerm("model", score, chosen.weight, chosen.normalize, chosen.clip))
        if chosen.kind == "shaped":
            potential = shaped(prefixes(settings, start), gamma=settings.algorithm.gamma)
            terms.append(RewardTerm("shaping", potential, weight=chosen.weight))
    if chosen.missing_end:
        terms.append(RewardTerm("missing_end", missing_end_penalty(chosen.missing_end)))
    if chosen.length_penalty:
        terms.append(RewardTerm("length", length_penalty(chosen.length_limit, chosen.length_penalty)))
    if chosen.entropy:
        terms.append(RewardTerm("surprisal", surprisal(), weight=chosen.entropy))
    trained = {}
    features = hidden_states(model, reference, layout)
    if chosen.implicit:
        terms.append(RewardTerm("implicit", self_supervised(settings, start, reference, layout)))
    if chosen.novelty:
        novelty = RandomDistillation(features, seed=settings.seed)
        terms.append(RewardTerm("novelty", novelty, weight=chosen.novelty, update=novelty.update))
        trained["novelty"] = TrainedTerm(
            read=lambda: novelty.state["predictor"],
            write=lambda state: novelty.state.update(predictor=state),
            begin=novelty,
        )
    if chosen.adversarial:
        rival = Discriminator(features, demonstrations(settings, start), seed=settings.seed)
        terms.append(RewardTerm("adversarial", rival, weight=chosen.adversarial, update=rival.update))
        trained["adversarial"] = TrainedTerm(lambda: rival.state, lambda s: setattr(rival, "state", s), lambda _: None)
    return Rewards(tuple(terms), trained)


def score_reward(settings: RlSettings, start: StartModels, reference: Any, sample: SampleFn) -> Reward:
    """Returns the reward that gives the score of the reward model to the tokens."""
    chosen, score = settings.rewards, of_responses(start.score)
    if chosen.kind == "dense":
        return dense(prefixes(settings, start))
    if chosen.kind in ("sparse", "shaped"):
        return sparse(score)
    relative: Callable[[Score, References], Score] = contrastive if chosen.kind == "contrastive" else bounded

    def against_start(rollout: Rollout) -> np.ndarray:
        # Sampled again for each iteration: a cache would make a resumed run differ in the last digits.
        before = make_rollout(
            sample,
            reference,
            rollout.prompts,
            rollout.prompt_ids,
            samples=chosen.references,
            step=rollout.step,
            decode=start.decode,
        )
        return relative(score, reference_scores(before, score(before)))(rollout)

    return sparse(against_start)


def prefixes(settings: RlSettings, start: StartModels) -> Callable[[Rollout], np.ndarray]:
    """Returns the scores of the beginnings of responses."""
    ending = len(start.tokenizer.ending)
    return prefix_scores(start.score, start.decode, every=settings.rewards.every, ending=ending)


def self_supervised(settings: RlSettings, start: StartModels, reference: Any, layout: Layout) -> Reward:
    """Returns the implicit reward of a policy trained by DPO from the start.

    Raises:
        InputError: it is no language model, or its tokens are not those of the start.
    """
    path = find_checkpoint(Path(settings.rewards.implicit_policy))
    contract = read_contract(path / "contract.json")
    vocabulary = start.tokenizer.hf.get_vocab()
    if contract.kind != "language_model" or load_tokenizer(path, contract).hf.get_vocab() != vocabulary:
        raise InputError(
            f"rewards.implicit_policy={settings.rewards.implicit_policy} is not a language model with the tokens of "
            "the policy's start: name a policy that was trained from it"
        )

    def under(of: Contract, params: Any) -> LogProbs:
        apply = policy_apply(ActorCritic(of.trunk, jnp.dtype(of.compute_dtype)))
        forward = TokenForward(lambda p, batch: apply(p, batch).logprob[..., None], layout)
        return lambda examples: [found[:, 0] for found in forward(params, examples)]

    trained = under(contract, layout.device_put(dict(load_params(path, contract, layout))))
    before = under(dataclasses.replace(start.contract, trunk=start.trunk), language_model_params(reference))
    return implicit_reward(trained, before, beta=settings.rewards.implicit)


def hidden_states(
    model: ActorCritic, reference: Any, layout: Layout
) -> Callable[[Sequence[Example]], list[np.ndarray]]:
    """Returns the function that gives the hidden states `[T_n, D]` of the start at the tokens of responses."""

    def function(params: Any, batch: Any) -> jax.Array:
        states: Any = model.apply({"params": params}, batch, method="states")
        return states[0]

    forward = TokenForward(function, layout)
    return lambda examples: forward(reference, examples)


def demonstrations(settings: RlSettings, start: StartModels) -> Sequence[Example]:
    """Returns good responses that a discriminator compares with.

    Raises:
        InputError: the source of the prompts has none.
    """
    data = settings.data
    found = load_demonstrations(data.train, "train", manual_dir=data.manual_dir, reading=data.reading())
    return encode_demonstrations(found[:DEMONSTRATIONS], start.tokenizer)
