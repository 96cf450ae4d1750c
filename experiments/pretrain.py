"""Pretraining of a language model on the lessons of the embedded corpus, as those that are part of the package.

    python experiments/pretrain.py --size=small --output=small

`small` is the default start of configs/helpful.py, which needs no pretraining because the package has it. It takes an
hour on one core. The stages are runs in runs/pretrain-SIZE, and the same command continues them. A reward model from
the new language model:

    python experiments/train.py --config=configs/helpful.py --config.model.path=small
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from rmjax.cli import configurations, runtime, script


def main() -> None:
    from rmjax.stages.pretraining import pretrain

    arguments = flags.FLAGS
    output = Path(arguments.output)
    workdir = Path(arguments.workdir or f"runs/pretrain-{arguments.size}")
    pretrain(arguments.size, output, workdir, configurations.config, arguments.seed, arguments.texts)
    print(f"{output}: a start of reward models, --config=configs/helpful.py --config.model.path={output}")


if __name__ == "__main__":
    runtime.prepare_process()
    flags.DEFINE_enum("size", "small", ["tiny", "mini", "small", "medium"], "Size of the model.")
    flags.DEFINE_string("output", None, "Folder to write, new or empty.", required=True)
    flags.DEFINE_string("workdir", "", "Folder of the runs of the stages; empty: runs/pretrain-SIZE.")
    flags.DEFINE_integer("texts", 0, "Texts of each stage; 0: as in the package.", lower_bound=0)
    flags.DEFINE_integer("seed", 0, "Seed of initial weights and data order.")
    script.run(main, resumes=True)
