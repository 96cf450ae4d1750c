"""Settings of an algorithm, and the advantages that it gives to tokens."""

from __future__ import annotations

import dataclasses

import numpy as np

from rmjax.errors import InputError
from rmjax.rlhf import advantages
from rmjax.rlhf.kl import KLConfig
from rmjax.rlhf.policy import PolicyLossConfig
from rmjax.rlhf.rollout import Rollout

ALGORITHMS = ("ppo", "rloo", "grpo", "online_dpo")
CREDITS = ("response", "token")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AlgorithmConfig:
    """Settings of an algorithm.

    Attributes:
        name: `ppo`: a value function and GAE. `rloo`: the mean of the other responses to the prompt as the baseline.
            `grpo`: the mean of all responses to the prompt as the baseline. `online_dpo`: no advantages; DPO on the
            best and the worst response to each prompt, with β = `kl.coef`.
        samples: responses to each prompt; at least 2 without a value function.
        epochs: passes over a rollout.
        minibatches: updates in a pass; each has as many prompts, rounded up, so that there may be fewer updates.
        microbatches: parts that an update is computed in.
        gamma: discount of later rewards of a response.
        lam: λ of GAE, for `ppo`.
        credit: for `rloo` and `grpo`: what a token is credited with. `response`: the total reward of its response.
            `token`: the rewards from this token on, compared with the siblings' tokens at the same place. Use it with
            dense and shaped rewards: the total of a shaped reward is the same for all responses to a prompt.
        whiten: divide the advantages of a rollout by their standard deviation and subtract their mean.
        divide_by_std: for `grpo`: divide by the standard deviation of each group. Off as in Dr. GRPO (2503.20783).
        std_floor: the least divisor.
        kl: the KL penalty.
        loss: the objective of an update.
        max_gap: largest allowed mean difference between the log-probabilities of the sampler and of the update, in
            nats per token.

    Raises:
        InputError: a number is out of range, or settings do not fit the algorithm.
    """

    name: str = "ppo"
    samples: int = 4
    epochs: int = 1
    minibatches: int = 1
    microbatches: int = 1
    gamma: float = 1.0
    lam: float = 0.95
    credit: str = "response"
    whiten: bool = False
    divide_by_std: bool = False
    std_floor: float = 1e-2
    kl: KLConfig = dataclasses.field(default_factory=KLConfig)
    loss: PolicyLossConfig = dataclasses.field(default_factory=PolicyLossConfig)
    max_gap: float = 1e-2

    def __post_init__(self) -> None:
        for field, known in (("name", ALGORITHMS), ("credit", CREDITS)):
            if getattr(self, field) not in known:
                raise InputError(f"algorithm.{field} must be one of {', '.join(known)}, found {getattr(self, field)!r}")
        for field in ("samples", "epochs", "minibatches", "microbatches"):
            if getattr(self, field) < 1:
                raise InputError(f"algorithm.{field} must be positive, found {getattr(self, field)}")
        for field in ("gamma", "lam"):
            if not 0 <= getattr(self, field) <= 1:
                raise InputError(f"algorithm.{field} must be in [0, 1], found {getattr(self, field)}")
        if self.std_floor <= 0 or self.max_gap <= 0:
            raise InputError(
                f"algorithm.std_floor and algorithm.max_gap must be positive, found {self.std_floor} and {self.max_gap}"
            )
        if self.name == "ppo" and self.credit == "token":
            raise InputError("algorithm.credit is for rloo and grpo: ppo credits every token by its value function")
        if self.name == "ppo" and not self.loss.value_coef:
            raise InputError("ppo needs a value function: set loss.value_coef above 0, or use rloo or grpo")
        if self.name != "ppo" and (self.loss.value_coef or self.samples < 2):
            raise InputError(
                f"{self.name} has no value function and compares responses: set loss.value_coef=0 and "
                "samples to at least 2"
            )
        if self.name == "online_dpo" and (not self.kl.coef or self.kl.placement != "reward" or self.kl.target):
            raise InputError(
                "online_dpo takes kl.coef as its β: set a positive and fixed one, with kl.placement=reward"
            )
        if self.divide_by_std and self.name != "grpo":
            raise InputError(f"algorithm.divide_by_std is for grpo, not for {self.name}")

    @property
    def unused(self) -> list[str]:
        """The settings that are set and have no effect on the algorithm."""
        without_values = {"loss.value_clip": self.loss.value_clip}
        of_pairs = {
            "whiten": self.whiten,
            "credit": self.credit != "response",
            "loss.clip": self.loss.clip,
            "loss.entropy_coef": self.loss.entropy_coef,
            "loss.normalization": self.loss.normalization != "token",
        }
        unused = {"ppo": {}, "online_dpo": without_values | of_pairs}.get(self.name, without_values)
        return [field for field, is_set in unused.items() if is_set]

    @property
    def uses_values(self) -> bool:
        """True if the algorithm has a value function."""
        return self.name == "ppo"


def token_advantages(
    config: AlgorithmConfig, reward_NxT: np.ndarray, value_NxT: np.ndarray, rollout: Rollout
) -> np.ndarray:
    """Returns the advantages of the tokens, `[N, T] float32`: a linear function of rewards and values together.

    So the advantages of a sum of rewards are the sum of the advantages of its parts, and each has a share.
    """
    length_N, mask = rollout.length_N, rollout.mask_NxT
    if config.name == "ppo":
        return advantages.gae(reward_NxT, value_NxT, length_N, gamma=config.gamma, lam=config.lam)
    center = advantages.leave_one_out if config.name == "rloo" else advantages.group_relative
    later = advantages.returns(reward_NxT, length_N, gamma=config.gamma)
    if config.credit == "response":
        later = np.broadcast_to(later[:, :1], later.shape)
    return np.where(mask, center(advantages.hold_last(later, length_N), rollout.group_N), np.float32(0))


def scaled(
    config: AlgorithmConfig, advantage: np.ndarray, penalty: np.ndarray, reward_N: np.ndarray, rollout: Rollout
) -> np.ndarray:
    """Returns the advantages of the objective: divided by a standard deviation if the settings say so.

    Args:
        config: the settings.
        advantage: of the tokens, `[N, T]`.
        penalty: the part of the KL penalty in it. It is not divided, as in GRPO, which has the penalty in the loss.
        reward_N: the reward of each response without the penalty.
        rollout: the responses.
    """
    if config.divide_by_std:
        deviation_N = advantages.group_deviation(reward_N, rollout.group_N)
        divisor = np.maximum(deviation_N, config.std_floor)[:, None].astype(np.float32)
        advantage = (advantage - penalty) / divisor + penalty
    return advantages.whiten(advantage, rollout.mask_NxT) if config.whiten else advantage
