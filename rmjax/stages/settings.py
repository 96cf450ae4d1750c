"""Settings of a run as frozen dataclasses: one for each part of the configuration, validated where they are declared.

`configs/helpful.py` explains every field to users. `parse(RunSettings, config)` builds the settings once from the
configuration; nothing after that reads the configuration.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from rmjax.data.sources import parse_sources
from rmjax.errors import InputError
from rmjax.models.checkpoint_files import EMBEDDED
from rmjax.models.config import POOLINGS, HeadConfig, TransformerConfig, default_head
from rmjax.models.lora import Lora, is_frozen
from rmjax.models.transformer import REMAT
from rmjax.parallel.layout import Layout, make_layout
from rmjax.stages.data_settings import DataSettings, SftDataSettings, TokenizerSettings
from rmjax.stages.parsing import parse
from rmjax.stages.ranges import at_least, one_of
from rmjax.training.loggers import parse_loggers
from rmjax.training.objectives import LossConfig, link_of
from rmjax.training.optimizer import OptimizerConfig

DTYPES = ("float32", "bfloat16")
SELECT = ("last", "best")
NORMALIZE_ON = ("responses", "demonstrations")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Trunk (`config.model`): a pretrained one, or one with the fields of `TransformerConfig` and random weights.

    Attributes:
        compute_dtype: dtype of activations.
        pretrained: name of a checkpoint on the Hugging Face hub; empty for a trunk with random weights.
        path: local folder with that checkpoint; empty for the hub.
        trunk: fields of `TransformerConfig` of a trunk with random weights, without `vocab_size`.
    """

    compute_dtype: str
    pretrained: str = ""
    path: str = ""
    trunk: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        one_of("compute_dtype", self.compute_dtype, DTYPES)
        if not self.pretrained:
            self.transformer(vocab_size=1)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelSettings:
        """Returns the settings of either kind of trunk."""
        if "pretrained" in values:
            return _parse_pretrained(values)
        if "compute_dtype" not in values:
            raise InputError("the configuration lacks the field model.compute_dtype")
        return cls(
            compute_dtype=values["compute_dtype"],
            trunk={name: value for name, value in values.items() if name != "compute_dtype"},
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as the configuration has them."""
        source = {"pretrained": self.pretrained, "path": self.path} if self.pretrained else self.trunk
        return {**source, "compute_dtype": self.compute_dtype}

    def transformer(self, vocab_size: int) -> TransformerConfig:
        """Returns the trunk with random weights that the fields describe."""
        return parse(TransformerConfig, {**self.trunk, "vocab_size": vocab_size}, "model.")

    @property
    def dtype(self) -> jnp.dtype:
        """The dtype of activations."""
        return jnp.dtype(self.compute_dtype)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Pretrained:
    pretrained: str
    path: str
    compute_dtype: str


def _parse_pretrained(values: Mapping[str, Any]) -> ModelSettings:
    return ModelSettings(**dataclasses.asdict(parse(_Pretrained, values, "model.")))


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadSettings:
    """Reward heads (`config.head`): `pooling` is one of `POOLINGS`, or empty for the default of the trunk."""

    pooling: str

    def __post_init__(self) -> None:
        one_of("pooling", self.pooling, ("", *POOLINGS))


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoraSettings:
    """Low-rank adapters (`config.lora`).

    Attributes:
        rank: inner width of the adapters; 0: none, and all parameters are trained.
        alpha: see `Lora`.
        targets: names of linear maps, joined by commas; see `LINEAR_MAPS`.
        frozen_dtype: dtype of the parameters that are not trained.
    """

    rank: int
    alpha: float
    targets: str
    frozen_dtype: str

    def __post_init__(self) -> None:
        one_of("frozen_dtype", self.frozen_dtype, DTYPES)
        at_least("rank", self.rank, 0)
        if self.rank:
            self.adapters()
        elif self.frozen_dtype != "float32":
            raise InputError("lora.frozen_dtype freezes nothing without adapters: set lora.rank too")

    def adapters(self) -> Lora:
        """Returns the adapters.

        Raises:
            InputError: a setting is out of range.
        """
        return Lora(self.rank, self.alpha, tuple(self.targets.split(",")))

    def dtype_of(self, path: str) -> jnp.dtype:
        """Returns the dtype of a parameter by its path."""
        return jnp.dtype(self.frozen_dtype if self.rank and is_frozen(path) else "float32")


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageSettings:
    """One stage of training (`config.train`, `config.sft`)."""

    batch_size: int
    epochs: int
    max_steps: int
    microbatches: int
    remat: str
    row_length: int
    log_every: int
    evaluate_every: int
    checkpoint_every: int
    keep: int
    select: str
    optimizer: OptimizerConfig

    def __post_init__(self) -> None:
        one_of("remat", self.remat, tuple(REMAT))
        one_of("select", self.select, SELECT)
        for name in ("batch_size", "epochs", "microbatches", "keep", "log_every"):
            at_least(name, getattr(self, name), 1)
        for name in ("max_steps", "row_length", "evaluate_every", "checkpoint_every"):
            at_least(name, getattr(self, name), 0)
        if self.select == "best" and not self.evaluate_every == self.checkpoint_every > 0:
            raise InputError(
                "select=best chooses among checkpoints by their validation loss: set evaluate_every and "
                "checkpoint_every to the same number of steps"
            )

    def check_row_length(self, name: str, tokenizer: TokenizerSettings) -> None:
        """Raises InputError if a row cannot hold the longest prompt with its response."""
        if 0 < self.row_length < tokenizer.longest:
            raise InputError(
                f"{name}.row_length={self.row_length} is too short: tokenizer.max_prompt + max_response + 1 (EOS) is "
                f"{tokenizer.longest}; 0 fits the rows to the data"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """Evaluation after training (`config.evaluation`)."""

    bootstrap: int
    references: int
    normalize_on: str

    def __post_init__(self) -> None:
        at_least("references", self.references, 2)
        one_of("normalize_on", self.normalize_on, NORMALIZE_ON)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParallelSettings:
    """Devices (`config.parallel`)."""

    layout: str
    tensor: int
    devices: int

    def make_layout(self) -> Layout:
        """Returns the layout over the devices of this process.

        Raises:
            InputError: there is no such layout, or it does not fit the devices.
        """
        return make_layout(layout=self.layout, tensor=self.tensor, devices=self.devices)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SftSettings:
    """Settings of an SFT run (configs/sft.py), and of the SFT stage of a reward-model run."""

    seed: int
    init_seed: int
    init: str
    loggers: str
    data: SftDataSettings
    tokenizer: TokenizerSettings
    model: ModelSettings
    lora: LoraSettings
    train: StageSettings
    parallel: ParallelSettings

    def __post_init__(self) -> None:
        _check_common(self)
        self.train.check_row_length("train", self.tokenizer)

    @property
    def weights_seed(self) -> int:
        """The seed of the weights that are drawn at random."""
        return self.seed if self.init_seed == -1 else self.init_seed


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Settings of a reward-model run (configs/helpful.py)."""

    seed: int
    init_seed: int
    heads: tuple[str, ...]
    gate: tuple[str, ...]
    init: str
    loggers: str
    data: DataSettings
    tokenizer: TokenizerSettings
    model: ModelSettings
    lora: LoraSettings
    head: HeadSettings
    loss: LossConfig
    train: StageSettings
    sft: StageSettings
    evaluation: EvaluationSettings
    parallel: ParallelSettings

    def __post_init__(self) -> None:
        _check_common(self)
        self.train.check_row_length("train", self.tokenizer)
        self.sft.check_row_length("sft", self.tokenizer)
        if joined := [name for name in self.heads if "," in name]:
            raise InputError(f"heads names {joined[0]!r} as one head: write several as ('helpful','safety')")
        if not self.heads or len(set(self.heads)) != len(self.heads):
            raise InputError(f"heads must name at least one head, each once, found {', '.join(self.heads) or 'none'}")
        if self.gate and (len(self.gate) != 2 or len(set(self.gate)) != 2 or not set(self.gate) <= set(self.heads)):
            raise InputError(
                f"gate names a helpfulness and a safety head of the model ({', '.join(self.heads)}), or nothing: "
                f"found {', '.join(self.gate)}"
            )
        if self.train.select == "best" and not link_of(self.loss).has_odds:
            raise InputError(
                f"train.select=best needs a validation loss, which loss.name={self.loss.name} does not have: its "
                "scores give no probabilities"
            )

    @property
    def weights_seed(self) -> int:
        """The seed of the weights that are drawn at random."""
        return self.seed if self.init_seed == -1 else self.init_seed

    def head_config(self, trunk: TransformerConfig) -> HeadConfig:
        """Returns the heads on a trunk.

        Raises:
            InputError: the trunk does not have this pooling.
        """
        default = default_head(self.heads, trunk)
        return dataclasses.replace(default, pooling=self.head.pooling) if self.head.pooling else default

    @property
    def sft_source(self) -> str:
        """The source of the demonstrations."""
        return self.data.sft or self.data.train

    def sft_stage(self) -> SftSettings:
        """Returns the settings of the SFT stage inside this run."""
        return SftSettings(
            seed=self.seed,
            init_seed=self.init_seed,
            init="pretrained" if self.model.pretrained else "random",
            loggers=self.loggers,
            data=SftDataSettings(
                train=self.sft_source,
                holdout=self.data.holdout,
                manual_dir=self.data.manual_dir,
                **self.data.limits(),
            ),
            tokenizer=self.tokenizer,
            model=self.model,
            # A trunk with random weights has nothing to adapt: SFT trains all of it.
            lora=self.lora if self.model.pretrained else dataclasses.replace(self.lora, rank=0, frozen_dtype="float32"),
            train=self.sft,
            parallel=self.parallel,
        )


def _check_common(settings: SftSettings | RunSettings) -> None:
    at_least("seed", settings.seed, 0)
    at_least("init_seed", settings.init_seed, -1)
    for name in ("seed", "init_seed"):
        if getattr(settings, name) >= 2**32:
            raise InputError(f"{name} must be below 2**32, found {getattr(settings, name)}")
    if not settings.model.pretrained and not settings.tokenizer.vocab_size:
        raise InputError("the configuration lacks the field tokenizer.vocab_size")
    model, source = settings.model, settings.data.train
    if (
        model.pretrained.startswith(EMBEDDED)
        and not model.path
        and settings.init in ("sft", "pretrained", "random")  # a run's folder has its own vocabulary
        and not any(part.kind in ("gold", "lessons") for part in parse_sources(source))
    ):
        raise InputError(
            f"{model.pretrained} knows only the words of the embedded corpus, and data.train={source} is something "
            "else: use the variant scratch or a pretrained trunk, as in --config=configs/helpful.py:scratch"
        )
    if settings.lora.rank and settings.init == "random":
        raise InputError("lora.rank adapts weights that were trained before, and init=random has none: set lora.rank=0")
    settings.parallel.make_layout()
    parse_loggers(settings.loggers)
