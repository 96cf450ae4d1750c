"""Heads of reward models that are not called as transformers' sequence classifiers call theirs."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import NamedTuple

from rmjax.models.config import TransformerConfig
from rmjax.models.families.family import Family


class Head(NamedTuple):
    """Names of the layers of a head.

    Attributes:
        output: the linear layer that gives the scores.
        hidden: the linear layer before it, of the width of the trunk; empty for none.
        activation: the activation between the two.
        others: prefixes of further tensors, which are not loaded.
    """

    output: str
    hidden: str = ""
    activation: str = ""
    others: tuple[str, ...] = ()


HEADS = (
    Head("score.2", "score.0", "relu"),  # Qwen2ForRewardModel (WorldPM, Qwen2.5-Math-RM), INF-ORM
    Head("regression_head"),  # UltraRM, Eurus-RM
    Head("score_head"),  # beaver (safe-rlhf)
    Head("v_head.summary"),  # TRL's models with a value head
    Head(
        "regression_layer", others=("gating.", "reward_transform_matrix")
    ),  # ArmoRM, its objectives without their gate
)


def find_head(family: Family, config: TransformerConfig, tensors: Collection[str]) -> tuple[Family, TransformerConfig]:
    """Returns family and trunk with the head that the tensors have; unchanged for the family's own or no known head.

    The hidden layer of a head becomes the pooler of the trunk.
    """
    if f"{family.head}.weight" in tensors:
        return family, config
    for head in HEADS:
        if f"{head.output}.weight" in tensors and (not head.hidden or f"{head.hidden}.weight" in tensors):
            found = dataclasses.replace(family, head=head.output, others=(*family.others, *head.others))
            if not head.hidden:
                return found, config
            return (
                dataclasses.replace(found, pooler=head.hidden),
                dataclasses.replace(config, pooler=head.activation),
            )
    return family, config
