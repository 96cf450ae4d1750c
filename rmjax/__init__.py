"""rmjax: reward models in pure JAX.

Shape letters, used as suffixes of array names throughout (`tokens_RxL`):

    R rows          L tokens of a row      N response slots     P pair slots
    D model width   H attention heads      G key/value heads    C channels of a head
    F MLP width     V vocabulary           Z reward heads       K responses of a comparison
    S shards        M microbatches         B comparisons        E entries of a key/value cache
    I inputs and O outputs of a linear map                  T tokens of a text
    In sampling: P prompts, n samples of each, T tokens of a prompt, Q rows of logits

The public face are the names in `__all__`. Each is imported when it is first used, so that `import rmjax` takes
milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rmjax.cli.configurations import config
    from rmjax.data.comparisons import Comparison, Message
    from rmjax.errors import InputError
    from rmjax.scoring.checkpoint import load
    from rmjax.scoring.reward_model import RewardModel
    from rmjax.stages.api import TrainedRun, evaluate, train

__version__ = "0.1.0"
__all__ = ["Comparison", "InputError", "Message", "RewardModel", "TrainedRun", "config", "evaluate", "load", "train"]

_HOMES = {
    "Comparison": "rmjax.data.comparisons",
    "InputError": "rmjax.errors",
    "Message": "rmjax.data.comparisons",
    "RewardModel": "rmjax.scoring.reward_model",
    "TrainedRun": "rmjax.stages.api",
    "config": "rmjax.cli.configurations",
    "evaluate": "rmjax.stages.api",
    "load": "rmjax.scoring.checkpoint",
    "train": "rmjax.stages.api",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'rmjax' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
