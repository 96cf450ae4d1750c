"""HH-RLHF (Bai et al. 2022, arXiv:2204.05862) as a data set of tensorflow-datasets (TFDS).

Each configuration is one folder of the published data, or the union of several. The files are read from `manual_dir`,
with the published names (`helpful-base/train.jsonl.gz`), or downloaded. tensorflow is not needed.

`checksums.tsv` contains the size and SHA-256 of every published file except `harmless-base/train.jsonl.gz`, whose
checksum this project does not know. TFDS downloads a file without a checksum too, unverified.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from rmjax.data.jsonl import read_jsonl
from rmjax.errors import InputError

UPSTREAM = "https://huggingface.co/datasets/Anthropic/hh-rlhf/resolve/main"
SPLITS = ("train", "test")

_HELPFUL = ("helpful-base", "helpful-online", "helpful-rejection-sampled")
MEMBERS = {
    "helpful-base": ("helpful-base",),
    "helpful-online": ("helpful-online",),
    "helpful-rejection-sampled": ("helpful-rejection-sampled",),
    "harmless-base": ("harmless-base",),
    "helpful": _HELPFUL,
    "all": (*_HELPFUL, "harmless-base"),
}

_DESCRIPTION = """Dialogues with an AI assistant. In each, a person compared two candidates for the assistant's last
turn: for helpfulness in the helpful-* folders, for harmlessness in harmless-base. Some texts are offensive."""

_CITATION = """@article{bai2022training,
  title={Training a Helpful and Harmless Assistant with Reinforcement Learning from Human Feedback},
  author={Bai, Yuntao and others},
  journal={arXiv:2204.05862},
  year={2022}
}"""


def file_name(member: str, split: str) -> str:
    """Returns the published file name of a split of one folder."""
    return f"{member}/{split}.jsonl.gz"


def files_at_hand(manual_dir: str | Path, config: str) -> dict[str, dict[str, Path]]:
    """Returns split -> member -> file for `config` in `manual_dir`; only splits of which all files exist."""
    found = {}
    for split in SPLITS:
        paths = {member: Path(manual_dir) / file_name(member, split) for member in MEMBERS[config]}
        if all(path.is_file() for path in paths.values()):
            found[split] = paths
    return found


class HhRlhf(tfds.core.GeneratorBasedBuilder):
    """Pairs of transcripts, in the order of the files; a union is the concatenation of its members."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        tfds.core.BuilderConfig(name=name, description=", ".join(members)) for name, members in MEMBERS.items()
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Optional. Place the files in manual_dir as they are published, for instance helpful-base/train.jsonl.gz."
    )

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            homepage="https://github.com/anthropics/hh-rlhf",
            citation=_CITATION,
            license="MIT",
            features=tfds.features.FeaturesDict(
                {
                    "chosen": tfds.features.Text(),
                    "rejected": tfds.features.Text(),
                    "subset": tfds.features.Text(doc="The folder of the published data."),
                    "line": tfds.features.Scalar(np.int64, doc="The line in the published file, from 1."),
                }
            ),
            # Otherwise TFDS orders the examples by a hash of their keys, and a slice would not be a slice of the file.
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[tuple[int, dict]]]:
        manual_dir = _manual_dir(dl_manager)
        # dl_manager.download also finds files in manual_dir, but only those with a known checksum, and it refuses any
        # other content, such as a subset of the data.
        splits = files_at_hand(manual_dir, self.builder_config.name) if manual_dir else {}
        if not splits:
            # Not download_and_extract: without tensorflow, TFDS cannot decompress .gz.
            urls = {
                split: {
                    member: f"{UPSTREAM}/{file_name(member, split)}" for member in MEMBERS[self.builder_config.name]
                }
                for split in SPLITS
            }
            splits = dl_manager.download(urls)
        return {split: self._generate_examples(paths) for split, paths in splits.items()}

    def _generate_examples(self, paths: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
        key = 0  # Unshuffled examples need whole numbers as keys.
        for member, path in paths.items():
            for line, record in read_jsonl(path):
                texts = record if isinstance(record, dict) else {}
                pair = {name: texts.get(name) for name in ("chosen", "rejected")}
                if not all(isinstance(text, str) for text in pair.values()):
                    raise InputError(f'{path}:{line}: a line of HH-RLHF contains the texts "chosen" and "rejected"')
                yield key, {**pair, "subset": member, "line": line}
                key += 1


def _manual_dir(dl_manager: tfds.download.DownloadManager) -> Path | None:
    try:
        return Path(dl_manager.manual_dir)
    except AssertionError:  # TFDS raises if the folder is empty or missing; here it is optional.
        return None
