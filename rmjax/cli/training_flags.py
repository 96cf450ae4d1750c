"""Flags of the scripts with a configuration: its file and fields, the run directory, several processes."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags

from rmjax.errors import InputError

CONFIG = "config"


def define() -> None:
    """Defines the flags of a script that trains: --config, --workdir, and those of several processes."""
    try:
        config_flags.DEFINE_config_file(CONFIG, None, "Configuration file, as configs/helpful.py or FILE:VARIANT.")
    except flags.Error as error:  # it already reads the file of --flagfile
        print(f"error: {error}".replace("ERROR:: ", ""), file=sys.stderr)
        sys.exit(2)
    flags.DEFINE_string("workdir", None, "Run directory; default runs/CONFIG-VARIANT, with a hash if fields change.")
    flags.mark_flag_as_required(CONFIG)
    flags.DEFINE_bool("print_config", False, "Print every field of the configuration with its value, and run nothing.")
    flags.DEFINE_bool(
        "distributed", None, "One of several processes, which jax finds; default: only under srun with several tasks."
    )
    flags.DEFINE_string("coordinator", None, "HOST:PORT of the first process, if jax cannot find it.")
    flags.DEFINE_integer("processes", None, "With --coordinator: number of processes.")
    flags.DEFINE_integer("process", None, "With --coordinator: number of this process, from 0.")


def config_dict() -> dict[str, Any]:
    """Returns the configuration with every override applied, as a plain nested dict."""
    return _built(flags.FLAGS)


def config_of(argv: Sequence[str]) -> dict[str, Any]:
    """Returns the configuration of another command line, the script's name first.

    Raises:
        InputError: the configuration cannot be built, or one of its fields does not exist.
    """
    values = flags.FlagValues()
    config_flags.DEFINE_config_file(CONFIG, flag_values=values, sys_argv=list(argv))
    flags.DEFINE_string("workdir", None, "", flag_values=values)
    try:
        values(argv)
        return _built(values)
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(" ".join(str(error).split())) from None


def _built(values: flags.FlagValues) -> dict[str, Any]:
    config = values[CONFIG].value
    if config is None:
        raise InputError("--config is missing: it names a configuration file, as configs/helpful.py")
    return config.to_dict()


def config_text() -> str:
    """Returns every field of the configuration with every override applied, one a line, as FIELD=VALUE in JSON."""
    return "\n".join(f"{name}={json.dumps(value)}" for name, value in flat_fields(config_dict()))


def flat_fields(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (dotted name, value) of every field of a nested configuration, or of a ConfigDict."""
    for name, value in config.items():
        if isinstance(value, Mapping) or hasattr(value, "to_dict"):
            yield from flat_fields(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def workdir(folder: Path = Path("runs")) -> Path:
    """Returns --workdir, or FOLDER/CONFIG-VARIANT.

    If fields are changed, the name also has their hash, so that every configuration has its own directory.
    """
    if flags.FLAGS.workdir:
        return Path(flags.FLAGS.workdir)
    path, _, variant = config_flags.get_config_filename(flags.FLAGS[CONFIG]).partition(":")
    name = "-".join(part for part in (Path(path).stem, variant) if part)
    overrides = config_flags.get_override_values(flags.FLAGS[CONFIG])
    if overrides:
        digest = hashlib.sha256(json.dumps(overrides, sort_keys=True, default=str).encode()).hexdigest()
        name = f"{name}-{digest[:6]}"
    return folder / name


def join_processes() -> None:
    """Joins the other processes of a run, if there are several: one run on all their devices (docs/scaling.md).

    Raises:
        InputError: some of the three flags are missing, or the other processes are not found.
    """
    arguments = flags.FLAGS
    named = [arguments.coordinator, arguments.processes, arguments.process]
    if any(value is not None for value in named) and None in named:
        raise InputError("--coordinator, --processes and --process belong together: give all three")
    # Tasks of an srun step. Under sbatch without srun there is a single process, whatever --ntasks is.
    slurm = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1
    if arguments.coordinator is None and not (slurm if arguments.distributed is None else arguments.distributed):
        return
    import jax

    try:
        jax.distributed.initialize(*named) if arguments.coordinator else jax.distributed.initialize()
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"the processes of this run did not find each other ({reason}): see docs/scaling.md") from None
    if jax.process_index():
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # only the first process prints
