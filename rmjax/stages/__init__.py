"""Runs from configuration to results: SFT, the reward model, the policy, and their data."""

from rmjax.stages.reward import audit_reward_data, train_reward_model
from rmjax.stages.rl import train_policy
from rmjax.stages.sft import train_language_model

__all__ = ["audit_reward_data", "train_language_model", "train_policy", "train_reward_model"]
