"""Every configuration builds, refuses what it does not know, and has no field that nothing reads."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).resolve().parent.parent
NAMES = sorted(path.stem for path in (ROOT / "configs").glob("*.py"))
SHRINK = {
    "data": {"holdout": 0.2},
    "tokenizer": {"vocab_size": 300, "max_prompt": 40, "max_response": 20},
    "model": {"width": 8, "layers": 1, "heads": 2, "kv_heads": 1, "head_dim": 4, "mlp_width": 8},
    "evaluation": {"bootstrap": 10, "references": 8},
}
SHRINK_STAGE = {"batch_size": 8, "max_steps": 2, "keep": 1}


class Watched(dict):
    """A nested dict that remembers which of its leaves were read by name."""

    def __init__(self, values: dict, path: str = "", read: set[str] | None = None) -> None:
        self.path, self.read = path, set() if read is None else read
        super().__init__(
            {k: Watched(v, f"{path}{k}.", self.read) if isinstance(v, dict) else v for k, v in values.items()}
        )

    def __getitem__(self, key: str):
        if not isinstance(super().__getitem__(key), dict):
            self.read.add(self.path + key)
        return super().__getitem__(key)

    def __iter__(self) -> Iterator[str]:  # without its own __iter__, `**` would pass __getitem__ by
        return super().__iter__()

    def leaves(self) -> set[str]:
        nested = [value.leaves() for value in dict.values(self) if isinstance(value, Watched)]
        return {self.path + k for k, v in dict.items(self) if not isinstance(v, dict)}.union(*nested)


def shrunk(name: str) -> dict:
    """A configuration as it stands, made small."""
    config = importlib.import_module(f"configs.{name}").get_config().to_dict()
    for part, fields in SHRINK.items():
        if part in config:
            config[part] |= fields
    for stage in ("train", "sft"):
        if stage in config:
            config[stage] |= SHRINK_STAGE
    for field in ("train", "eval"):
        if field in config["data"]:
            names = [re.sub(r"\[.*\]", "", part) for part in config["data"][field].split(",")]
            config["data"][field] = ",".join(f"{name}[:40]" for name in names)
    return config


@pytest.mark.parametrize("name", NAMES)
def test_every_configuration_builds(name):
    config = importlib.import_module(f"configs.{name}").get_config()
    assert config.to_dict()


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_variant_is_an_error(name):
    with pytest.raises(ValueError, match="variant"):
        importlib.import_module(f"configs.{name}").get_config("gigantic")


@pytest.mark.parametrize("name", NAMES)
def test_no_field_goes_unread(name, tmp_path, capsys):
    config = Watched(shrunk(name))
    script = importlib.import_module("sft" if name == "sft" else "train")
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        script.run_config(config, tmp_path / "run")
    assert config.leaves() - config.read == set()
    assert (tmp_path / "run" / "evaluation.json").is_file()
