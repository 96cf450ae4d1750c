"""Files of a Hugging Face checkpoint: download, config.json and list of tensors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rmjax.data.files import read_json, require_regular, require_regular_files
from rmjax.errors import InputError
from rmjax.models.classes import class_name
from rmjax.models.families import find_family

# Files to download from a hub repository: no pickled weights, no code.
FILES = (
    "config.json",
    "adapter_config.json",  # marks the weights as an adapter
    "model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "chat_template*",
)

# Pickled weights, which are refused: reading them can run code.
PICKLES = ("*.bin", "*.pt*")


# Largest values of config.json. transformers makes lists of the first ones before anything else is checked.
COUNTS = ("num_hidden_layers", "n_layer", "n_layers", "num_labels")
MOST_COUNTED = 1000
LARGEST_NUMBER = 2**31 - 1


# Language models of the embedded corpus, which are part of the package: "embedded/small".
EMBEDDED = "embedded/"
START = Path(__file__).resolve().parent.parent / "data" / "gold" / "start"


def locate(name: str, path: str = "") -> Path:
    """Returns the local folder of a checkpoint, downloaded from the hub if needed.

    `embedded/NAME` is a language model of the embedded corpus.

    Raises:
        InputError: there is no such folder, and the download fails, or one of its files is a FIFO or a device.
    """
    if not (path or name):
        raise InputError("no checkpoint is named: model.pretrained takes a hub id or a folder, model.path a folder")
    if name.startswith(EMBEDDED) and not path:
        known = sorted(folder.name for folder in START.iterdir() if folder.is_dir())
        if name.removeprefix(EMBEDDED) not in known:
            raise InputError(f"unknown model {name}: known are {', '.join(EMBEDDED + each for each in known)}")
        return START / name.removeprefix(EMBEDDED)
    folder = Path(path or name)
    if folder.is_dir():
        require_regular_files(folder)
        return folder
    if path:
        raise InputError(f"there is no folder {path}: model.path names the local copy of {name}")
    return fetch(name, "or give a local folder with --config.model.path=FOLDER")


def fetch(name: str, otherwise: str) -> Path:
    """Returns the folder of a model of the Hugging Face hub in the local cache, downloaded if needed.

    Raises:
        InputError: the download fails; the message ends with `otherwise`.
    """
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=list(FILES)))
    except (OSError, ValueError, HFValidationError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"the weights of {name} are not on this machine and could not be fetched ({reason}): run `hf download "
            f"{name}` where there is a network, {otherwise}"
        ) from None


def read_config(folder: Path) -> Any:
    """Returns the config.json of a checkpoint as an object of transformers, without running code of the checkpoint.

    Raises:
        InputError: missing, unreadable, of an unknown architecture, or with sizes that no model has.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    if not (folder / "config.json").is_file():
        raise InputError(f"{folder} has no config.json: give a folder that save_pretrained wrote, or a run of rmjax")
    try:
        record = read_json(folder / "config.json")
        model_type = str(record["model_type"])
    except (InputError, KeyError, TypeError):
        raise InputError(f"{folder}/config.json is not a model's configuration: it states no model_type") from None
    _check_numbers(record, folder)
    find_family(model_type, f" (class {class_name(record)} in {folder}/config.json)")
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (StrictDataclassError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        reason = " ".join(str(error.args[0] if error.args else error).split())
        raise InputError(f"transformers refuses {folder}/config.json ({reason}): is it the checkpoint's own?") from None


def _check_numbers(record: dict[str, Any], folder: Path) -> None:
    """Raises InputError for a number in config.json that no model has."""
    for name, value in record.items():
        most = MOST_COUNTED if name in COUNTS else LARGEST_NUMBER
        if isinstance(value, int) and not -most <= value <= most:
            raise InputError(f"{folder}/config.json says {name} = {str(value)[:24]}: at most {most} can be used")


def list_tensors(folder: Path) -> dict[str, tuple[Path, str]]:
    """Lists the tensors of a checkpoint: name -> its file, and its name there.

    Early BERT checkpoints call the weight and bias of a norm gamma and beta.

    Raises:
        InputError: there is no safetensors file, one is missing or truncated, or the index names one elsewhere.
    """
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = sorted(set(read_json(index)["weight_map"].values()))
            elsewhere = [name for name in names if name == ".." or Path(name).name != name]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(f"{index} does not list tensors and their files: fetch it again") from None
        if elsewhere:
            raise InputError(f"{index} names {elsewhere[0]!r}, which is outside of its folder: fetch it again")
        files = [folder / name for name in names]
    else:
        files = sorted(folder.glob("model*.safetensors"))
    if not files:
        pickled = [path.name for pattern in PICKLES for path in sorted(folder.glob(pattern))]
        found = f" (only {pickled[0]}, which is pickled and could run code)" if pickled else ""
        raise InputError(
            f"{folder} holds no model.safetensors{found}: write one with save_pretrained in a recent transformers"
        )
    stored = [(path, name) for path in files for name in sorted(open_safetensors(path).keys())]
    return {re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", name)): (path, name) for path, name in stored}


def open_safetensors(path: Path) -> Any:
    """Opens a safetensors file.

    Raises:
        InputError: it is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    require_regular(path)
    try:
        return safe_open(path, framework="np")
    except FileNotFoundError:
        raise InputError(f"{path} is missing, though the checkpoint's index names it: fetch it again") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged or cut short ({error}): fetch it again") from None
