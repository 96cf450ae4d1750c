"""Training of a reward model from human judgements: data, audit, SFT, training, evaluation, figures.

python experiments/train.py --config=configs/helpful.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from absl import flags

from rmjax.cli import runtime, script, training_flags

NEXT = """Everything is in {workdir}: evaluation.json, metrics.jsonl, figures/, checkpoints/.
On one page:
    python experiments/report.py --workdir={workdir}
Score your own text:
    python -c "import rmjax; print(rmjax.load('{workdir}').score('Hi, how are you?', 'Great, and you?'{head}))"
    python experiments/score.py --checkpoint={workdir} --input=IN.jsonl --output=OUT.jsonl{flag}"""


def main(config: dict[str, Any], workdir: Path) -> None:
    from rmjax.evaluation.summary import summary
    from rmjax.report.run_report import sft_of
    from rmjax.report.runs_report import time_in_words
    from rmjax.stages import train_reward_model
    from rmjax.training.run_files import read_run

    result = train_reward_model(config, workdir)
    print(f"\nOn {result['data']}, held out:\n\n{summary(result)}\n")
    run = read_run(workdir)
    if took := time_in_words(run, sft_of(run)):
        print(f"{took}\n")
    several, head = len(config["heads"]) > 1, config["heads"][0]
    argument, flag = (f", head='{head}'", f" --head={head}") if several else ("", "")
    print(NEXT.format(workdir=workdir, head=argument, flag=flag))


def audit(config: dict[str, Any]) -> None:
    """Reads, checks and counts the data of a run."""
    from rmjax.stages import audit_reward_data

    audit_reward_data(config)
    print("The data can be used. Nothing was trained, and nothing was written.")


def run() -> None:
    """Does what the flags say."""
    config = training_flags.config_dict()
    if flags.FLAGS.audit_only:
        audit(config)
    else:
        main(config, training_flags.workdir())


if __name__ == "__main__":
    runtime.prepare_process()
    training_flags.define()
    flags.DEFINE_bool("audit_only", False, "Read, check and count the data of the run, and train nothing.")
    script.run(run, resumes=True)
