"""Settings of a sweep as frozen dataclasses, built once from its configuration (configs/sweeps/page.py)."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from rmjax.errors import InputError
from rmjax.sweeps.rows import Measure, show

Point = Mapping[str, Any]
"""The values of a setting on the axes of the sweep, {axis: value}."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """One line of the table: training runs, a combination of the runs of other settings, or a measurement.

    Attributes:
        at: its values on the axes of the sweep.
        fields: fields that it changes, as on the command line without `--config.`.
        base: its configuration; empty: that of the sweep.
        members: `at` of the settings to combine.
        script: script in experiments/ of a combination or a measurement; empty for training runs.
        options: options of that script, as on the command line without `--`.
    """

    at: Point
    fields: Sequence[str] = ()
    base: str = ""
    members: Sequence[Point] = ()
    script: str = ""
    options: Sequence[str] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Start:
    """A run for every seed, of SFT unless `base` says otherwise; fields of other runs contain its folder as {NAME}.

    Attributes:
        name: its name.
        fields: the fields that it changes.
        base: its configuration; empty: `Sweep.start_base`.
    """

    name: str
    fields: Sequence[str]
    base: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Assumed:
    """Assumptions of the smallest detectable effect; see `rmjax.evaluation.power.smallest_effect`.

    Attributes:
        seed_sd: standard deviation over seeds of the difference in accuracy between two settings, as a fraction.
        prompts: prompts of the test set.
        prompt_sd: standard deviation over prompts of that difference on one prompt, averaged over seeds.
    """

    seed_sd: float
    prompts: int
    prompt_sd: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """A published claim: an effect on a measure, `at` less `reference`.

    Attributes:
        text: the claim, one sentence with its source.
        measure: title of the measure.
        at: the setting.
        reference: the setting that it is compared with.
        effect: the difference with its sign, a fraction where the unit of the measure is %.
        published: True if the source states this number; False if `effect` is the smallest one of interest.
        equal: True if the claim is that the difference is not larger than `effect`, in either direction.
    """

    text: str
    measure: str
    at: Point
    reference: Point
    effect: float
    published: bool = True
    equal: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sweep:
    """Settings of a sweep; `page.sweep` in configs/sweeps/page.py explains the fields.

    Raises:
        InputError: the parts do not fit together.
    """

    title: str
    seeds: int
    base: str
    start_base: str
    starts: Sequence[Start]
    fields: Sequence[str]
    settings: Sequence[Setting]
    measures: Sequence[Measure]
    compare: str
    against: Sequence[Sequence[Any]]
    figures: Sequence[Sequence[str]]
    fit: Sequence[str]
    power_law: Sequence[str] = ()
    claims: Sequence[Claim] = ()
    assumed: Assumed | None = None

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise InputError(f"seeds must be at least 1, found {self.seeds}")
        names = [tuple(setting.at) for setting in self.settings]
        coordinates = [tuple(setting.at.values()) for setting in self.settings]
        if len(set(names)) != 1 or len(set(coordinates)) != len(coordinates):
            raise InputError("all settings of a sweep must have the same axes, and no two the same values on them")
        axis = self.compare
        if axis not in names[0]:
            raise InputError(f"settings cannot be compared along {axis!r}: the axes of the sweep are {list(names[0])}")
        values = [setting.at[axis] for setting in self.settings]
        if wrong := [value for pair in self.against for value in pair if value not in values]:
            raise InputError(f"against names {wrong[0]!r}, which no setting has as its {axis}")
        runs = [setting.at for setting in self.training]
        for setting in self.measurements:
            if missing := [at for at in setting.members if at not in runs]:
                label = setting_label(setting.at)
                raise InputError(f"{label} combines {setting_label(missing[0])}, which is not a run of the sweep")
        self._check_starts()
        self._check_claims()

    def _check_claims(self) -> None:
        titles, points = [measure.title for measure in self.measures], [setting.at for setting in self.settings]
        for claim in self.claims:
            if claim.measure not in titles:
                raise InputError(f"a claim is about {claim.measure!r}, which is no measure: known are {titles}")
            if missing := [at for at in (claim.at, claim.reference) if at not in points]:
                raise InputError(f"a claim is about {setting_label(missing[0])}, which is no setting of the sweep")
            if not claim.effect:
                raise InputError(f"the effect of a claim must not be 0: {claim.text}")

    def _check_starts(self) -> None:
        known = [start.name for start in self.starts]
        for setting in self.settings:
            used = setting.options if setting.script else (*self.fields, *setting.fields)
            for name in starts_in(used):
                if name not in known:
                    label = setting_label(setting.at)
                    raise InputError(f"the setting {label} begins with {name!r}: known are {sorted(known)}")
        for number, start in enumerate(self.starts):
            if wrong := [name for name in starts_in(start.fields) if name not in known[:number]]:
                raise InputError(f"the start {start.name!r} needs {wrong[0]!r}, which is not defined before it")

    @property
    def training(self) -> list[Setting]:
        """Settings that are training runs."""
        return [setting for setting in self.settings if not setting.script]

    @property
    def measurements(self) -> list[Setting]:
        """Settings without training: combinations of the runs of others, and measurements of starts."""
        return [setting for setting in self.settings if setting.script]


def parse_sweep(values: Mapping[str, Any]) -> Sweep:
    """Returns the settings of a sweep from its configuration, or from the sweep.json of its directory.

    Raises:
        InputError: a field is unknown or missing, or the parts do not fit together.
    """
    try:
        return Sweep(
            **{
                **values,
                "starts": tuple(Start(**start) for start in values["starts"]),
                "settings": tuple(Setting(**setting) for setting in values["settings"]),
                "measures": tuple(Measure(*measure) for measure in values["measures"]),
                "claims": tuple(Claim(**claim) for claim in values.get("claims", ())),
                "assumed": Assumed(**values["assumed"]) if values.get("assumed") else None,
            }
        )
    except (TypeError, KeyError) as error:
        raise InputError(
            f"this is not the configuration of a sweep ({error}): use `sweep` of configs/sweeps/page.py"
        ) from None


def starts_in(fields: Sequence[str]) -> list[str]:
    """Returns the names of the starts whose folders the fields contain as {NAME}; {seed} is the seed."""
    names = re.findall(r"\{(\w+)\}", " ".join(fields))
    return [name for name in dict.fromkeys(names) if name != "seed"]


def setting_label(at: Point) -> str:
    """Returns a setting as text: `margin small, comparisons 4,000`."""
    return ", ".join(f"{name} {show(value)}" for name, value in at.items())
