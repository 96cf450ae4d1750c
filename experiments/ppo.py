"""Training of a policy with rewards: PPO, RLOO, GRPO or online DPO on the score of a reward model.

python experiments/ppo.py --config=configs/ppo.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rmjax.cli import runtime, script, training_flags

NEXT = """Everything is in {workdir}: evaluation.json, metrics.jsonl, samples.jsonl, figures/, checkpoints/.
On one page:
    python experiments/report.py --workdir={workdir}
For transformers:
    python experiments/export.py --checkpoint={workdir} --output=OUTPUT"""


def main(config: dict[str, Any], workdir: Path) -> None:
    from rmjax.report.rl_tables import result_table
    from rmjax.stages import train_policy

    result = train_policy(config, workdir)
    print(f"\nOn {result['data']}, {result['prompts']} held-out prompts:\n\n{result_table(result)}\n")
    print(f"{result['steps']} steps; {result['stopped']['sentence']}.\n")
    print(NEXT.format(workdir=workdir))


if __name__ == "__main__":
    runtime.prepare_process()
    training_flags.define()
    script.run(lambda: main(training_flags.config_dict(), training_flags.workdir()), resumes=True)
