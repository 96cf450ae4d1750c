"""Supervised fine-tuning (SFT) of a language model on demonstrations, for the initial weights of reward models.

python experiments/sft.py --config=configs/sft.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rmjax.cli import runtime, script, training_flags


def main(config: dict[str, Any], workdir: Path) -> None:
    from rmjax.stages import train_language_model

    result = train_language_model(config, workdir)
    print(f"held-out loss {result['loss']:.3f} nats per token, perplexity {result['perplexity']:.2f}")
    variant = ":VARIANT" if "pretrained" in config["model"] else ""  # the same variant as this run
    print("A reward model from it:")
    print(f"    python experiments/train.py --config=configs/helpful.py{variant} --config.init={workdir}")


if __name__ == "__main__":
    runtime.prepare_process()
    training_flags.define()
    script.run(lambda: main(training_flags.config_dict(), training_flags.workdir()), resumes=True)
