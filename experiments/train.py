"""A reward model from human judgements: data, audit, SFT start, training, evaluation, figures.

python experiments/train.py --config=configs/helpful.py
"""

from __future__ import annotations

import gc
from pathlib import Path

import cli
from checks import check_settings, check_sources
from materials import Config
from prepare import prepare, sft_source
from reward_stage import train_reward_model
from sft import train_language_model
from starts import begin_from, is_pretrained

from rmjax.evaluation.summary import summary
from rmjax.training.objectives import LossConfig
from rmjax.training.run import RunDirectory, write_json

NEXT = """Everything is in {workdir}: evaluation.json, metrics.jsonl, figures/, checkpoints/.
On one page:
    python experiments/report.py --workdir={workdir}
Score your own text:
    python -c "import rmjax; print(rmjax.load('{workdir}').score('Hi, how are you?', 'Great, and you?'{head}))"
    python experiments/score.py --checkpoint={workdir} --input=IN.jsonl --output=OUT.jsonl{flag}"""


def main() -> None:
    run_config(cli.config_dict(), cli.workdir())


def run_config(config: Config, workdir: Path) -> None:
    """One run from its configuration to its results; resumes what was interrupted, leaves alone what is finished."""
    run = RunDirectory(workdir, config)
    if run.finished:
        print(f"{workdir} is finished: nothing to do. Its results:\n\n{summary(run.read_evaluation())}")
        return
    print(f"Run directory: {workdir}\n")
    check_settings(config, "train", "sft")
    check_sources(config["data"])
    loss = LossConfig(**config["loss"])
    data = prepare(config, loss)

    run.create(data.fingerprints)
    write_json(run.path / "data_audit.json", data.audit.to_json())
    start = data.start
    if config["init"] == "sft":
        source = sft_source(config)
        print(f"Stage 1 of 2: a language model on {len(data.sft.learned)} demonstrations of {source} (SFT)")
        train_language_model(sft_config(config, source), run.path / "sft", start, data.sft)
        gc.collect()  # what it leaves on the devices; by itself this would come late, see `cli.collect_seldom`
        start = begin_from(config, run.path / "sft")
        print("Stage 2 of 2: the reward model, from its weights")
    result = train_reward_model(config, run, start, data, loss)
    print(f"\nOn {config['data']['eval']}, held out:\n\n{summary(result)}\n")
    one = len(config["heads"]) == 1
    head = config["heads"][0]
    print(NEXT.format(workdir=workdir, head="" if one else f", head='{head}'", flag="" if one else f" --head={head}"))


def sft_config(config: Config, source: str) -> Config:
    """The configuration of the SFT stage inside a reward-model run, as its own run directory records it."""
    return {
        "seed": config["seed"],
        "init_seed": config["init_seed"],
        "init": "pretrained" if is_pretrained(config) else "random",
        "data": {"train": source, "holdout": config["data"]["holdout"], "manual_dir": config["data"]["manual_dir"]},
        "tokenizer": config["tokenizer"],
        "model": config["model"],
        "train": config["sft"],
        "parallel": config["parallel"],
    }


if __name__ == "__main__":
    cli.define_config()
    cli.run(main)
