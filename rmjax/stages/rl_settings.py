"""Settings of a run that trains a policy with rewards (configs/ppo.py), as frozen dataclasses."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from rmjax.data import reading
from rmjax.data.hold_out import eval_share, reported_in_words
from rmjax.errors import InputError
from rmjax.models.transformer import REMAT
from rmjax.rlhf.algorithm import AlgorithmConfig
from rmjax.rlhf.kl import next_coefficient
from rmjax.scoring.ensemble import METHODS
from rmjax.scoring.reward_function import SCALES
from rmjax.stages.parsing import parse, to_dict
from rmjax.stages.ranges import at_least, not_negative, one_of
from rmjax.stages.settings import SELECT, ParallelSettings, RunSettings
from rmjax.training.loggers import parse_loggers
from rmjax.training.optimizer import OptimizerConfig

KINDS = ("sparse", "dense", "shaped", "contrastive", "bounded")
CRITICS = ("none", "shared", "policy", "reward")
GOLD = ("gold/helpful", "gold/safety")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PromptSettings(reading.Reading):
    """Prompts (`config.data`)."""

    train: str
    validation: str
    holdout: float
    eval: str
    manual_dir: str
    validation_prompts: int
    eval_prompts: int

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("validation_prompts", "eval_prompts"):
            at_least(name, getattr(self, name), 2)
        eval_share(self.eval)

    @property
    def reported(self) -> str:
        """The data to report on, in words."""
        return reported_in_words(self.train, self.eval)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RewardSettings:
    """The reward (`config.rewards`): the score of the reward model, and terms that are added to it."""

    kind: str
    head: str
    combine: str
    penalty: float
    gate: bool
    scale: str
    weight: float
    normalize: bool
    clip: float
    references: int
    every: int
    missing_end: float
    length_limit: int
    length_penalty: float
    entropy: float
    novelty: float
    adversarial: float
    implicit: float
    implicit_policy: str

    def __post_init__(self) -> None:
        one_of("kind", self.kind, KINDS)
        one_of("combine", self.combine, ("", *METHODS, "weights"))
        one_of("scale", self.scale, SCALES)
        at_least("references", self.references, 1)
        at_least("every", self.every, 1)
        at_least("length_limit", self.length_limit, 0)
        factors = ("weight", "novelty", "adversarial", "implicit")
        not_negative(self, *factors[1:], "clip", "missing_end", "length_penalty", "entropy", "penalty")
        if not math.isfinite(self.weight):
            raise InputError(f"weight must be finite, found {self.weight}")
        if not any(getattr(self, name) for name in factors):
            raise InputError(f"weight=0 leaves nothing to learn: set one of {', '.join(factors)}")
        if bool(self.implicit) != bool(self.implicit_policy):
            raise InputError(
                "implicit and implicit_policy belong together: a factor, and a policy trained by DPO, such as a run "
                "of configs/ppo.py:dpo"
            )
        if self.penalty and self.combine != "uncertainty":
            raise InputError(f"penalty={self.penalty} belongs to combine=uncertainty")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RolloutSettings:
    """Sampling of responses (`config.rollout`)."""

    prompts: int
    max_response: int
    rows: int

    def __post_init__(self) -> None:
        for name in ("prompts", "rows"):
            at_least(name, getattr(self, name), 1)
        at_least("max_response", self.max_response, 2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RlTrainSettings:
    """Iterations of training (`config.train`)."""

    max_steps: int
    remat: str
    log_every: int
    evaluate_every: int
    checkpoint_every: int
    keep: int
    select: str
    samples: int
    optimizer: OptimizerConfig

    def __post_init__(self) -> None:
        one_of("remat", self.remat, tuple(REMAT))
        one_of("select", self.select, SELECT)
        for name in ("max_steps", "log_every", "evaluate_every", "keep"):
            at_least(name, getattr(self, name), 1)
        for name in ("checkpoint_every", "samples"):
            at_least(name, getattr(self, name), 0)
        if self.select == "best" and self.evaluate_every != self.checkpoint_every:
            raise InputError(
                "select=best chooses among checkpoints by their held-out score: set evaluate_every and "
                "checkpoint_every to the same number of steps"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class StopSettings:
    """Rules that end a run (`config.stop`); 0 switches a rule off."""

    score: float
    patience: int
    kl: float
    entropy: float
    cut: float

    def __post_init__(self) -> None:
        not_negative(self, "score", "patience", "kl", "entropy", "cut")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RlEvaluationSettings:
    """Evaluation at the end (`config.evaluation`)."""

    bootstrap: int

    def __post_init__(self) -> None:
        at_least("bootstrap", self.bootstrap, 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RlSettings:
    """Settings of a run that trains a policy (configs/ppo.py)."""

    seed: int
    policy: str
    reward: str
    critic: str
    loggers: str
    models: Mapping[str, Any]
    data: PromptSettings
    rollout: RolloutSettings
    rewards: RewardSettings
    algorithm: AlgorithmConfig
    train: RlTrainSettings
    stop: StopSettings
    evaluation: RlEvaluationSettings
    parallel: ParallelSettings

    def __post_init__(self) -> None:
        at_least("seed", self.seed, 0)
        one_of("critic", self.critic, CRITICS)
        if (self.critic != "none") != self.algorithm.uses_values:
            raise InputError(
                f"critic={self.critic} does not fit algorithm.name={self.algorithm.name}: ppo needs shared, policy or "
                "reward, the others none"
            )
        if self.reward.startswith("gold/"):
            one_of("reward", self.reward, GOLD)
            if self.critic == "reward":
                raise InputError(f"critic=reward needs a reward model, found reward={self.reward}: set critic=policy")
        self.check_ensemble()
        self.check_algorithm()
        self.parallel.make_layout()
        parse_loggers(self.loggers)
        if not (self.policy and self.reward):
            self.model_settings()

    def check_algorithm(self) -> None:
        """Raises InputError unless rewards, rules and sizes fit the algorithm."""
        algorithm, responses = self.algorithm, self.rollout.prompts * self.algorithm.samples
        if algorithm.unused:
            raise InputError(
                f"algorithm.{algorithm.unused[0]} has no effect on {algorithm.name}: leave it as configs/ppo.py has it "
                "for this algorithm"
            )
        if algorithm.name == "online_dpo" and (self.rewards.kind == "shaped" or self.stop.entropy):
            field = "rewards.kind=shaped" if self.rewards.kind == "shaped" else "stop.entropy"
            raise InputError(f"{field} has no effect on online_dpo, which compares whole responses: choose another")
        if self.rewards.kind == "shaped" and algorithm.name != "ppo" and algorithm.credit != "token":
            raise InputError(
                "rewards.kind=shaped has no effect if all tokens of a response have one credit: set "
                "algorithm.credit=token"
            )
        if algorithm.minibatches > self.rollout.prompts:
            raise InputError(
                f"an iteration has {self.rollout.prompts} prompts and cannot be divided into "
                f"algorithm.minibatches={algorithm.minibatches}"
            )
        next_coefficient(algorithm.kl, algorithm.kl.coef, 0.0, responses)  # refuses a horizon that is too short
        if not self.rewards.weight and (self.train.select == "best" or self.stop.score or self.stop.patience):
            raise InputError(
                "rewards.weight=0 leaves no score to choose a checkpoint or to stop by: set train.select=last, "
                "stop.score=0 and stop.patience=0"
            )

    def check_ensemble(self) -> None:
        """Raises InputError unless the number of reward models fits `rewards.combine` and `rewards.gate`."""
        chosen, several = self.rewards, "," in self.reward
        if several != bool(chosen.combine):
            raise InputError(
                "rewards.combine and several reward models belong together: name them in reward, joined by commas"
            )
        if several and chosen.gate:
            raise InputError("rewards.gate is for one reward model: an ensemble has none")

    def model_settings(self) -> RunSettings:
        """Returns the settings of the run that makes the models that are not named.

        Raises:
            InputError: a field of `models` is wrong.
        """
        fields = {**self.models, "parallel": to_dict(self.parallel), "loggers": self.loggers}
        if self.policy:
            fields["init"] = self.policy
        return parse(RunSettings, fields, "models.")
