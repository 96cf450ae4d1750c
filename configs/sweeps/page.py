"""What the pages of sweeps are made of; see experiments/sweep.py for what runs them.

Runs are of the laptop scale. With 16,000 comparisons one takes about two minutes on one core, and comes within some
three points of what all 32,000 give; but one seed in five learns late, and a small effect needs all of them. On far
fewer the model has hardly begun to read which of a prompt's items is asked for, and accuracies scatter by several
points between seeds. All runs of a seed begin with the same SFT weights and tokenizer, made once (`starts`), so that
settings differ in nothing but what they are meant to.
"""

from ml_collections import ConfigDict

ACCURACY = ("accuracy", "accuracy", "%")
GAIN = ("share of the ceiling's gain", "ceiling_gain", "%")
LOSS = ("loss", "loss", "")

# Half of the data in batches of half the size, which is as many steps as configs/helpful.py takes: how many there are
# decides more than how large they are.
STEPS = ("train.batch_size=16", "train.optimizer.learning_rate=8e-4")

# What every run of a sweep says: from the start of its seed, no evaluation or checkpoint on the way.
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
) -> ConfigDict:
    """The configuration of a sweep.

    Args:
        title: what stands above its table and figures.
        settings: from `setting` or `grid`.
        measures: (title, path, unit) each. The path is FILE:KEY.KEY of a run, or KEY.KEY of its evaluation.json; the
            unit %, empty, or count for a whole number that describes the setting.
        compare: the axis along which settings are compared.
        against: (value, reference) on that axis each; empty: every setting with the first.
        figures: (name, "points", measure, ...) or (name, "curves", measure, axis) each; with a measure as the axis, the
            axis that it stands for comes last.
        seeds: how many, from 0.
        base: the page of experiments/train.py that settings change.
        start_base: the page of experiments/sft.py that starts change.
        starts: {"name", "fields"} each, run once for every seed; a field names its folder as {name}.
        fields: of all runs, as on the command line without `--config.`.
        fit: (measure, quantity, ...): a line in the logarithms of quantities (axes or measures), through all settings.
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
    return config


def setting(at: dict, *fields: str) -> dict:
    """One setting: its place on the axes, and the fields that it changes."""
    return {"at": at, "fields": fields}


def combination(at: dict, members: tuple, *options: str) -> dict:
    """A setting that trains nothing: experiments/evaluate.py on the runs of other settings, by their places, and with
    these options, as on the command line without `--`."""
    return {"at": at, "members": members, "options": options}


def grid(**axes: dict) -> tuple:
    """Every combination of the values of the axes, the last axis fastest; an axis is {value: fields}.

    Underscores in an axis' name are read as spaces.
    """
    combined: list = [({}, ())]
    for name, axis in axes.items():
        combined = [
            ({**at, name.replace("_", " "): value}, (*fields, *more))
            for at, fields in combined
            for value, more in axis.items()
        ]
    return tuple(setting(at, *fields) for at, fields in combined)
