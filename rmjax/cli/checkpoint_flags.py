"""Flags of the scripts that score: the reward model, the combination of several, and a report of truncation."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

from rmjax.data.truncation import Truncation
from rmjax.errors import InputError

if TYPE_CHECKING:
    from rmjax.scoring.reward_function import RewardFunction
    from rmjax.scoring.reward_model import RewardModel


def define() -> None:
    """Defines the flags of a script that scores: the reward model, and settings that a Hugging Face folder lacks."""
    flags.DEFINE_list(
        "checkpoint",
        None,
        "Run directory (its last valid checkpoint), a checkpoint in it, or a Hugging Face folder; several, joined by "
        "commas, are an ensemble.",
    )
    flags.DEFINE_string(
        "combine",
        None,
        "Rule for several checkpoints: mean, worst, uncertainty, or weights (averaged); evaluate.py: or best.",
    )
    flags.DEFINE_float("penalty", None, "With --combine=uncertainty: weight of the variance of the members' scores.")
    flags.DEFINE_bool("gate", False, "Score helpfulness and safety as one, with the gate of the checkpoint.")
    flags.DEFINE_bool("verify", True, "Recompute the canaries of the checkpoint before scoring.")
    flags.DEFINE_string("template", "", "Hugging Face folder: chat template by name; empty: its own.")
    share = "Hugging Face folder: tokens that a {} keeps at least; 0: half of its positions."
    flags.DEFINE_integer("max_prompt", 0, share.format("prompt"))
    flags.DEFINE_integer("max_response", 0, share.format("response"))
    flags.DEFINE_string("date", "", "Hugging Face folder: current date for its chat template, YYYY-MM-DD.")
    flags.DEFINE_bool(
        "split_special_tokens",
        None,
        "Hugging Face folder: special tokens in texts are text (the default); false: special, as in transformers.",
    )
    flags.DEFINE_integer("logit", None, "Hugging Face folder of a language model: id of the token whose logit scores.")
    flags.mark_flag_as_required("checkpoint")


def load_members() -> list[RewardModel]:
    """Loads every reward model that --checkpoint names.

    Raises:
        InputError: the flags contradict each other, or a checkpoint cannot be used.
    """
    from rmjax.scoring.checkpoint import load

    arguments = flags.FLAGS
    several = len(arguments.checkpoint) > 1
    if several != bool(arguments.combine):
        raise InputError(
            "--combine and several checkpoints, joined by commas, belong together: --combine=mean, worst, uncertainty, "
            "weights or, in evaluate.py, best"
        )
    if several and arguments.gate:
        raise InputError("--gate is for one checkpoint: an ensemble has none")
    if arguments.penalty is not None and arguments.combine != "uncertainty":
        raise InputError("--penalty belongs to --combine=uncertainty")
    return [load(path, verify=arguments.verify, **stated_for_hub()) for path in arguments.checkpoint]


def stated_for_hub() -> dict[str, Any]:
    """Returns the flags for a Hugging Face folder, as arguments of `load`."""
    names = ("template", "max_prompt", "max_response", "date", "split_special_tokens", "logit")
    return {name: getattr(flags.FLAGS, name) for name in names}


def load_checkpoint() -> RewardFunction:
    """Loads the reward function that the flags name: a reward model, its gate, or an ensemble.

    Raises:
        InputError: as `load_members`.
    """
    from rmjax.scoring.ensemble import Ensemble, average_weights
    from rmjax.scoring.gate import GatedModel

    arguments, members = flags.FLAGS, load_members()
    if arguments.combine == "weights":
        return average_weights(members)
    if len(members) > 1:
        return Ensemble(members, arguments.combine, arguments.penalty)
    return GatedModel(members[0]) if arguments.gate else members[0]


def report_truncation(cut: Sequence[np.ndarray], name: str = "") -> dict[str, Any]:
    """Prints a warning on standard error if truncation cut tokens; returns the counts for the result."""
    truncation = Truncation.of(cut)
    if sentence := truncation.to_text():
        print(f"warning: {name}{': ' if name else ''}{sentence}", file=sys.stderr)
    return truncation.to_json()
