"""Runs from configuration to results: the SFT stage, the reward-model stage, and their data."""

from rmjax.stages.reward import train_reward_model
from rmjax.stages.sft import train_language_model

__all__ = ["train_language_model", "train_reward_model"]
