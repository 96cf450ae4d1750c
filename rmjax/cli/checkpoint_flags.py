"""Flags of the scripts that score: which reward model, how several are combined, and what truncation cut."""

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
    """The flags of a script that scores: which reward model, and what one of Hugging Face's format does not state."""
    flags.DEFINE_list(
        "checkpoint",
        None,
        "Run directory (its last sound checkpoint), a checkpoint in it, or a Hugging Face folder; several, by commas, "
        "are an ensemble.",
    )
    flags.DEFINE_string(
        "combine",
        None,
        "Several checkpoints: mean, worst, uncertainty, or weights (averaged); evaluate.py: or best.",
    )
    flags.DEFINE_float("penalty", None, "With --combine=uncertainty: how much the members' variance counts.")
    flags.DEFINE_bool("gate", False, "Helpfulness and safety as one score, by the gate of the checkpoint.")
    flags.DEFINE_bool("verify", True, "Recompute the canaries of the checkpoint before scoring.")
    flags.DEFINE_string("template", "", "Hugging Face folder: chat template by name; empty: its own.")
    share = "Hugging Face folder: tokens that a {} keeps at least; 0: half of its positions."
    flags.DEFINE_integer("max_prompt", 0, share.format("prompt"))
    flags.DEFINE_integer("max_response", 0, share.format("response"))
    flags.DEFINE_string("date", "", "Hugging Face folder: what its template's clock tells, YYYY-MM-DD.")
    flags.DEFINE_bool(
        "split_special_tokens",
        None,
        "Hugging Face folder: special tokens in texts are text (the default); false: special, as in transformers.",
    )
    flags.mark_flag_as_required("checkpoint")


def load_members() -> list[RewardModel]:
    """Every reward model that --checkpoint names.

    Raises:
        InputError: the flags do not fit each other, or a checkpoint cannot be used.
    """
    from rmjax.scoring.checkpoint import load

    arguments = flags.FLAGS
    several = len(arguments.checkpoint) > 1
    if several != bool(arguments.combine):
        raise InputError("--combine and several checkpoints, joined by commas, belong together")
    if several and arguments.gate:
        raise InputError("--gate is for one checkpoint: an ensemble has none")
    if arguments.penalty is not None and arguments.combine != "uncertainty":
        raise InputError("--penalty belongs to --combine=uncertainty")
    return [load(path, verify=arguments.verify, **stated_for_hub()) for path in arguments.checkpoint]


def stated_for_hub() -> dict[str, Any]:
    """Returns the settings of a Hugging Face folder that the flags state, as arguments of `load`."""
    names = ("template", "max_prompt", "max_response", "date", "split_special_tokens")
    return {name: getattr(flags.FLAGS, name) for name in names}


def load_checkpoint() -> RewardFunction:
    """The judge that the flags name: a reward model, its gate, or an ensemble.

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
    """Prints what truncation cut, if anything, on standard error; returns the counts for the result."""
    truncation = Truncation.of(cut)
    if sentence := truncation.to_text():
        print(f"warning: {name}{': ' if name else ''}{sentence}", file=sys.stderr)
    return truncation.to_json()
