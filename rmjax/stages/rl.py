"""A run that trains a policy with rewards: models, prompts, iterations, evaluation before and after."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from rmjax.data.comparisons import Prompt
from rmjax.evaluation.bootstrap import Bootstrap
from rmjax.evaluation.evaluate import json_safe
from rmjax.models.sampling import Sampler
from rmjax.models.token_choice import SamplingSettings
from rmjax.parallel.layout import Layout
from rmjax.report import rl_figures
from rmjax.rlhf.actor_critic import policy_apply
from rmjax.rlhf.iteration import Learner
from rmjax.rlhf.rollout import sample_with
from rmjax.rlhf.scores import BY_REQUEST, from_gold
from rmjax.stages.parsing import parse, plain_dict
from rmjax.stages.rl_evaluation import Evaluator, summarize
from rmjax.stages.rl_loop import Trainer
from rmjax.stages.rl_models import (
    StartModels,
    check_named,
    load_models,
    make_actor_critic,
    make_models,
    start_parameters,
)
from rmjax.stages.rl_prompts import Prompts, PromptSplits, encode_prompts, gold_rewards, load_prompts
from rmjax.stages.rl_rewards import make_rewards
from rmjax.stages.rl_settings import RlSettings
from rmjax.training.lock import locked
from rmjax.training.loggers import logging_to
from rmjax.training.optimizer import make_optimizer
from rmjax.training.run import RunDirectory
from rmjax.training.step import TrainState


def train_policy(config: Mapping[str, Any], workdir: Path | str) -> dict[str, Any]:
    """Trains a policy with rewards from a configuration; resumes an interrupted run.

    Args:
        config: the fields of configs/ppo.py, as a dict or an `ml_collections.ConfigDict`.
        workdir: the run directory.

    Returns:
        The contents of its `evaluation.json`, also if the run was finished before.

    Raises:
        InputError: a setting, a checkpoint or the data cannot be used.
    """
    config = plain_dict(config)
    run = RunDirectory(workdir, config)
    if run.finished:
        print(f"{run.finished_in_words()} Its results:")
        return run.read_evaluation()
    settings = parse(RlSettings, config)
    print(f"Run directory: {run.path}\n")
    check_named(settings)
    prompts = load_prompts(settings.data)
    with locked(run.path):
        run.create(fingerprints(prompts), "policy")
        policy, reward = make_models(settings, run.path)
        start = load_models(settings, policy, reward)
        return run_rl_stage(settings, run, start, prompts)


def run_rl_stage(settings: RlSettings, run: RunDirectory, start: StartModels, prompts: PromptSplits) -> dict[str, Any]:
    """Trains a policy, and writes its results. Returns the contents of its `evaluation.json`."""
    layout = settings.parallel.make_layout()
    trainer = make_trainer(settings, run, start, prompts, layout)
    print(
        f"{settings.algorithm.name}: {len(prompts.train)} prompts to train on, {len(prompts.validation)} to validate "
        f"on; {settings.rollout.prompts} prompts × {settings.algorithm.samples} responses an iteration"
    )
    with logging_to(run, settings.loggers):
        stop = trainer.fit()
    print(f"the run ends: {stop.sentence}")
    selected = trainer.select()
    held_out = encode_prompts(prompts.eval, start.tokenizer, settings.rollout.max_response, "evaluation")
    result = {
        "data": settings.data.reported,
        "prompts": len(held_out),
        "algorithm": settings.algorithm.name,
        "stopped": stop._asdict(),
        "steps": len(trainer.rows),
        "selected": selected,
        **measure_both(settings, trainer, held_out),
    }
    draw_figures(run, settings)
    run.finish(result)
    return result


def draw_figures(run: RunDirectory, settings: RlSettings) -> None:
    """Draws the curves of training, scores over KL divergence, and the terms of the reward."""
    rows, name = run.metrics(), settings.algorithm.name
    rl_figures.training_curves(run.figure("training.png"), rows, f"{name} on {settings.data.train}")
    rl_figures.scores_over_kl(run.figure("kl.png"), rows, "Score and gold reward over KL divergence")
    rl_figures.reward_terms(run.figure("rewards.png"), rows, "Terms of the reward")


def make_trainer(
    settings: RlSettings, run: RunDirectory, start: StartModels, prompts: PromptSplits, layout: Layout
) -> Trainer:
    """Returns the loop of a run before its first step."""
    limit = settings.rollout.max_response
    model = make_actor_critic(settings, start)
    params = start_parameters(settings, start, layout)
    # A step overwrites the buffers of its state, so the reference has its own.
    reference = layout.device_put(jax.tree.map(jnp.copy, params))
    sampler = make_sampler(settings, start, layout, temperature=1.0)
    config = dataclasses.replace(
        settings.algorithm, loss=dataclasses.replace(settings.algorithm.loss, max_response=limit)
    )
    # Minibatches of equal size, rounded up, can be fewer than algorithm.minibatches.
    minibatches = math.ceil(settings.rollout.prompts / math.ceil(settings.rollout.prompts / config.minibatches))
    updates = settings.train.max_steps * config.epochs * minibatches
    optimizer, _ = make_optimizer(settings.train.optimizer, updates)
    # The responses that a reward compares with must not be those of the iteration itself.
    rewards = make_rewards(
        settings,
        start,
        model=model,
        reference=reference,
        layout=layout,
        sample=sample_with(sampler, seed=(settings.seed + 2**31) % 2**32),
    )
    learner = Learner(
        config,
        apply=policy_apply(model),
        reference=reference,
        optimizer=optimizer,
        layout=layout,
        sample=sample_with(sampler, seed=settings.seed),
        decode=start.decode,
        rewards=rewards.terms,
        seed=settings.seed,
    )
    gold = gold_rewards(settings.data)
    measured = (*gold, *BY_REQUEST) if {"helpful", "safety"} <= {*gold} else gold
    scores = {"score": start.normalized, **{f"gold_{name}": from_gold(name) for name in measured}}
    state = TrainState(jnp.zeros((), jnp.int32), params, layout.jit_init(optimizer.init, params))
    origin = {"source": settings.data.train, "start": start.origin, "init_seed": start.contract.data.get("init_seed")}
    return Trainer(
        settings=settings,
        run=run,
        layout=layout,
        start=start,
        contract=dataclasses.replace(start.contract, trunk=start.trunk, data=origin),
        learner=learner,
        rewards=rewards,
        evaluator=Evaluator(learner, start.decode, scores, settings.seed),
        sampler=sampler,
        prompts=encode_prompts(prompts.train, start.tokenizer, limit, "training"),
        validation=encode_prompts(prompts.validation, start.tokenizer, limit, "validation"),
        gold=gold,
        state=layout.device_put(state),
        coef=config.kl.coef,
    )


def make_sampler(settings: RlSettings, start: StartModels, layout: Layout, *, temperature: float) -> Sampler:
    """Returns the sampler of the policy."""
    sampling = SamplingSettings(
        max_response=settings.rollout.max_response, stop=start.tokenizer.ending, temperature=temperature
    )
    dtype = jnp.dtype(start.contract.compute_dtype)
    return Sampler(start.trunk, dtype, layout, sampling, rows_per_device=settings.rollout.rows)


def measure_both(settings: RlSettings, trainer: Trainer, prompts: Prompts) -> dict[str, Any]:
    """Returns the results of the start and of the policy on held-out prompts, `sampled` and `greedy`."""
    bootstrap = Bootstrap(settings.evaluation.bootstrap, settings.seed)
    result: dict[str, Any] = {}
    for way, temperature in (("sampled", 1.0), ("greedy", 0.0)):
        sampler = trainer.sampler
        if not temperature:
            sampler = make_sampler(settings, trainer.start, trainer.layout, temperature=temperature)
        before, after = (
            trainer.evaluator.measure(sampler, params, prompts)
            for params in (trainer.learner.reference, trainer.state.params)
        )
        result[way] = {
            "before": json_safe(summarize(before, before, bootstrap)),
            "after": json_safe(summarize(after, before, bootstrap)),
        }
        if not temperature:  # the likeliest tokens are no sample of the policy, so they estimate no divergence
            for found in result[way].values():
                del found["kl"], found["kl_error"]
    return result


def fingerprints(prompts: PromptSplits) -> dict[str, Any]:
    """Returns the number of prompts of every split and a sha256 over them, in order."""

    def one(split: Sequence[Prompt]) -> dict[str, Any]:
        return {"count": len(split), "sha256": hashlib.sha256(json.dumps(split).encode()).hexdigest()}

    return {name: one(getattr(prompts, name)) for name in ("train", "validation", "eval")}
