"""Building blocks of sweep configurations; experiments/sweep.py runs them.

The runs have the laptop scale. All runs of a seed start from the same SFT weights, which are made once (`starts`), so
that settings differ only in the fields that they change.
"""

from ml_collections import ConfigDict

ACCURACY = ("accuracy", "accuracy", "%")
GAIN = ("share of the ceiling's gain", "ceiling_gain", "%")
LOSS = ("loss", "loss", "")

# Assumptions of the smallest detectable effect: the standard deviations of the difference in accuracy between two
# settings, over seeds and over prompts, as fractions, and the number of test prompts of the embedded corpus. The
# deviations are those of initialisation.py between SFT and language model at 2,000 to 8,000 comparisons.
ASSUMED = {"seed_sd": 0.003, "prompts": 2000, "prompt_sd": 0.085}

# Fields of every run of a sweep: no evaluation and no checkpoint before the end.
QUICK = ("train.evaluate_every=0", "train.checkpoint_every=0", "train.keep=1")
SFT = {"name": "sft", "fields": ("train.evaluate_every=0", "train.checkpoint_every=0", "train.keep=1")}


def sweep(
    title: str,
    *,
    settings: tuple,
    measures: tuple,
    compare: str,
    against: tuple = (),
    figures: tuple,
    seeds: int = 3,
    base: str = "configs/helpful.py",
    start_base: str = "configs/sft.py",
    starts: tuple = (SFT,),
    fields: tuple = (),
    fit: tuple = (),
    power_law: tuple = (),
    claims: tuple = (),
    assumed: dict | None = ASSUMED,
) -> ConfigDict:
    """The configuration of a sweep.

    Args:
        title: the title of the table and of the figures.
        settings: the settings, from `setting`, `grid` or `combination`.
        measures: (title, path, unit) each. The path is FILE:KEY.KEY of a run, or KEY.KEY of its evaluation.json. The
            unit is %, empty, or `count` for a whole number that describes the setting.
        compare: the axis along which settings are compared.
        against: pairs (value, reference) on that axis; empty: every setting with the first.
        figures: (name, "points", measure, ...) or (name, "curves", measure, axis) each. If the axis is a measure, the
            axis of the sweep that it replaces comes last.
        seeds: the number of seeds; they begin at 0.
        base: the configuration for experiments/train.py that settings change.
        start_base: the configuration for experiments/sft.py that starts change.
        starts: {"name", "fields"} each, an SFT run for every seed. Fields of other runs contain its folder as {NAME}.
            A start with "base" is a run of that configuration.
        fields: fields of all runs, as on the command line without `--config.`.
        fit: (measure, quantity, ...): fits a line in the logarithms of the quantities (axes or measures).
        power_law: (measure, quantity, ...): fits a floor and a power law of each quantity.
        claims: published effects, from `claim`.
        assumed: seed_sd, prompts and prompt_sd, as in `ASSUMED`, which give the smallest detectable effect.
    """
    config = ConfigDict()
    config.title = title
    config.seeds = seeds
    config.base = base
    config.start_base = start_base
    config.starts = starts
    config.fields = (*QUICK, *fields)
    config.settings = settings
    config.measures = measures
    config.compare = compare
    config.against = against
    config.figures = figures
    config.fit = fit
    config.power_law = power_law
    config.claims = claims
    config.assumed = assumed
    return config


def setting(at: dict, *fields: str, base: str = "") -> dict:
    """A setting of a sweep.

    Args:
        at: the values on the axes of the sweep, {axis: value}.
        fields: the fields that the setting changes, as on the command line without `--config.`.
        base: its configuration; empty: that of the sweep.
    """
    return {"at": at, "fields": fields, "base": base}


def claim(
    text: str,
    at: dict,
    reference: dict,
    effect: float,
    measure: str = "accuracy",
    *,
    published: bool = True,
    equal: bool = False,
) -> dict:
    """A published effect on a measure, to be called reproduced, absent or not told.

    Args:
        text: the claim, one sentence with its source.
        at: the setting, {axis: value}.
        reference: the setting that it is compared with.
        effect: the difference with its sign; 0.01 is one point of a measure in %.
        measure: the title of the measure.
        published: True if the source states this number; False if it states none in this unit, and `effect` is the
            smallest one of interest.
        equal: True if the claim is that the difference is not larger than `effect`, in either direction.
    """
    return {
        "text": text,
        "measure": measure,
        "at": at,
        "reference": reference,
        "effect": effect,
        "published": published,
        "equal": equal,
    }


def combination(at: dict, members: tuple, *options: str) -> dict:
    """A setting without training: experiments/evaluate.py evaluates the runs of other settings together.

    Args:
        at: the values on the axes of the sweep, {axis: value}.
        members: the `at` of the settings to combine.
        options: options of experiments/evaluate.py, as on the command line without `--`.
    """
    return {"at": at, "members": members, "script": "evaluate.py", "options": options}


def measurement(at: dict, script: str, *options: str) -> dict:
    """A setting without training: a script measures starts.

    Args:
        at: the values on the axes of the sweep, {axis: value}.
        script: the script in experiments/; it writes its result to --output.
        options: its options, as on the command line without `--`; {NAME} is the folder of a start. The first one is
            `checkpoint=...`.
    """
    return {"at": at, "script": script, "options": options}


def grid(**axes: dict) -> tuple:
    """Settings for all combinations of the values of the axes; the last axis changes fastest.

    Args:
        axes: {value: fields} for each axis. Underscores in the name of an axis become spaces.
    """
    combined: list = [({}, ())]
    for name, axis in axes.items():
        combined = [
            ({**at, name.replace("_", " "): value}, (*fields, *more))
            for at, fields in combined
            for value, more in axis.items()
        ]
    return tuple(setting(at, *fields) for at, fields in combined)
