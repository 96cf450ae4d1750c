"""What every script shares: flags, and errors told in one sentence."""

from __future__ import annotations

import ast
import gc
import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

# On a CPU XLA asks for its gigabytes of scratch anew at every step, and the system clears them page by page, which took
# a fifth of the time of a step (benchmarks/RESULTS.md). In pages of 2 MB that is quick, but glibc can be told only when
# a program starts: so a script starts once more, before anything else. Tunables that are named from outside stay.
if sys.platform == "linux" and Path(sys.argv[0]).resolve().parent == Path(__file__).resolve().parent:
    if "GLIBC_TUNABLES" not in os.environ:
        os.environ["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
        os.execv(sys.executable, sys.orig_argv)

# Compiled programs are kept on disk, so that a run whose shapes were seen before starts in seconds. Read when jax is
# imported, which is why this stands before it; a folder that is named from outside stays.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path("~/.cache/rmjax/compiled").expanduser()))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

# XLA gives most of what is not a matrix product one core, so on a CPU every core is a device of its own; more than four
# would cost more memory than time (the parameters stand on each). A number that is named from outside stays.
if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(min(4, os.cpu_count() or 1)))

# Configurations build on each other as `configs.NAME`, wherever the script is called from.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import usage
from ml_collections import config_flags

from rmjax.data.truncation import Truncation
from rmjax.errors import InputError

if TYPE_CHECKING:
    from rmjax.scoring.judge import Judge
    from rmjax.scoring.reward_model import RewardModel

CONFIG = "config"


def collect_seldom() -> None:
    """Lets Python look for unreachable cycles once in 200,000 new objects instead of once in 700.

    Reading data makes millions of objects and no cycles, and every search walks through many of those again: measured
    with configs/helpful.py, a sixth of the CPU time up to the first step (benchmarks/RESULTS.md).
    """
    gc.set_threshold(200_000)


def define_config() -> None:
    """The flags of a script that trains: --config, --workdir, and those of several processes."""
    config_flags.DEFINE_config_file(CONFIG, None, "Configuration file, as configs/helpful.py or FILE:VARIANT.")
    flags.DEFINE_string("workdir", None, "Run directory; default runs/CONFIG-VARIANT, and a hash where fields change.")
    flags.mark_flag_as_required(CONFIG)
    flags.DEFINE_bool(
        "distributed", None, "Several processes, found as jax finds them; default: under srun with tasks."
    )
    flags.DEFINE_string("coordinator", None, "HOST:PORT of the first process, where jax cannot find it by itself.")
    flags.DEFINE_integer("processes", None, "With --coordinator: how many there are.")
    flags.DEFINE_integer("process", None, "With --coordinator: which of them this is, from 0.")


def join_processes() -> None:
    """Makes this process one of several, if there are several: one run on all their devices (docs/scaling.md).

    Raises:
        InputError: half of the flags, or the others are not found.
    """
    arguments = flags.FLAGS
    named = [arguments.coordinator, arguments.processes, arguments.process]
    if any(value is not None for value in named) and None in named:
        raise InputError("--coordinator, --processes and --process belong together: give all three")
    # Tasks of an srun step; inside sbatch alone there is a single process whatever --ntasks says.
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
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the first process speaks for all


def define_checkpoint() -> None:
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


def load_checkpoint() -> Judge:
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


def run(main: Callable[[], None], argv: Sequence[str] | None = None) -> None:
    """Parses the flags, runs `main`, and exits: 0 done, 1 an input that cannot be used, 2 a wrong command line."""
    argv = sys.argv if argv is None else argv
    collect_seldom()
    if usage.asked(argv):
        try:
            print(usage.page(argv))
        except InputError as error:
            _fail(str(error), 2)
        sys.exit()
    try:
        rest = flags.FLAGS(argv, known_only=False)
        if len(rest) > 1:
            raise InputError(f"unexpected argument {rest[1]!r}: options are written --name=value")
        if CONFIG in flags.FLAGS:
            config_dict()  # a file that cannot be loaded is an error only when the configuration is asked for
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError, ImportError, SyntaxError) as error:
        # ml_collections reports an unknown field as AttributeError or KeyError, a wrong type as TypeError, and whatever
        # goes wrong inside a configuration file as it is.
        if len(argv) == 1:
            print(usage.short(), end="\n\n", file=sys.stderr)
        _fail(_flag_message(error), 2)
    try:
        if CONFIG in flags.FLAGS:
            join_processes()
        main()
    except InputError as error:
        _fail(str(error), 1)
    except KeyboardInterrupt:
        _fail("interrupted", 130)


def config_dict() -> dict[str, Any]:
    """The configuration with every override applied, as a plain nested dict."""
    return flags.FLAGS[CONFIG].value.to_dict()


def workdir(folder: Path = Path("runs")) -> Path:
    """--workdir, or FOLDER/CONFIG-VARIANT; with changed fields, their hash is part of the name, so that every
    configuration has its own directory."""
    if flags.FLAGS.workdir:
        return Path(flags.FLAGS.workdir)
    path, _, variant = config_flags.get_config_filename(flags.FLAGS[CONFIG]).partition(":")
    name = "-".join(part for part in (Path(path).stem, variant) if part)
    overrides = config_flags.get_override_values(flags.FLAGS[CONFIG])
    if overrides:
        digest = hashlib.sha256(json.dumps(overrides, sort_keys=True, default=str).encode()).hexdigest()
        name = f"{name}-{digest[:6]}"
    return folder / name


def _flag_message(error: Exception) -> str:
    text = str(error.args[0] if error.args else error).strip()
    if missing := re.findall(r"Flag (--\w+) must have a value other than None", text):
        return f"{' and '.join(missing)} must be given"
    if isinstance(error, OSError):
        return f"--{CONFIG}={config_flags.get_config_filename(flags.FLAGS[CONFIG])}: {text.splitlines()[-1].strip()}"
    if "Traceback" in text:  # of the configuration file; its last line says what is wrong
        text = text.splitlines()[-1].partition("Error: ")[2]
    if text[:1] in ("'", '"') and text[:1] == text[-1:]:  # the message of a KeyError comes as its repr
        text = ast.literal_eval(text)
    if re.fullmatch(r"'?\w+'?", text):  # all that ml_collections says where no other field is spelled alike
        text = f"this configuration has no field {text.strip(chr(39))!r}"
    return " ".join(text.split())


def _fail(message: str, status: int) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(status)
