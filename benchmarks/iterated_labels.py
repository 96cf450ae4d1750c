"""Iterated collection of labels: a judge retrained on what its policy writes, compared with more of the old data.

    PYTHONPATH=. python benchmarks/iterated_labels.py --workdir=runs/iterated --seeds=3

Round 0 trains a judge on --first comparisons of the corpus, and a policy against it by RLOO, with the settings of
configs/overoptimisation.py. Every later round adds --more labelled comparisons, trains the judge anew on all of them,
and a new policy from the same start. In the arm `own samples` the new comparisons are four responses each of the last
policy to training prompts, ranked by a rater with the noise of the corpus, as in the iterated collection of Bai et al.
(2204.05862) and Llama 2 (2307.09288). In the arm `corpus` they are further comparisons of the corpus.

The table has, for every arm and round, the number of labelled comparisons, the accuracy of the judge on the corpus's
test pairs, the gold reward of the policy at its peak and at the end, and the KL divergence at the end: means over seeds
with standard errors. Finished runs are not repeated.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from harness import markdown

ARMS = ("own samples", "corpus")
SAMPLES = 4  # responses of a new comparison


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, default=Path("runs/iterated"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3, help="rounds after the first")
    parser.add_argument("--first", type=int, default=2000, help="comparisons of the first round")
    parser.add_argument("--more", type=int, default=1000, help="comparisons of every later round")
    arguments = parser.parse_args()
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    for seed in range(arguments.seeds):
        for arm in ARMS:
            for number, row in enumerate(run_arm(arguments, arm, seed)):
                found.setdefault((arm, number), []).append(row)
            print(markdown(table(found)) + "\n", flush=True)


def run_arm(arguments: argparse.Namespace, arm: str, seed: int) -> list[dict[str, float]]:
    """Returns the figures of every round; round 0 is shared by the arms."""
    from configs import overoptimisation, sft
    from configs.sweeps import page
    from rmjax.stages import train_language_model, train_reward_model
    from rmjax.sweeps.overoptimisation import FILE, summarize

    folder = arguments.workdir / f"seed{seed}"
    start = folder / "sft"
    train_language_model(changed(sft.get_config(), [*page.QUICK, *overoptimisation.SFT, f"seed={seed}"]), start)
    rows, own, policy = [], [], None
    for number in range(arguments.rounds + 1):
        if number and arm == "own samples":
            own.append(labelled(policy, arguments.more, folder / f"labels{number}.jsonl", seed, number))
        count = arguments.first + arguments.more * number
        data = [f"gold/helpful[:{count - arguments.more * len(own)}]", *(f"jsonl:{path}" for path in own)]
        name = f"{arm}-{number}".replace(" ", "_") if number else "first"
        judge, policy = folder / f"judge-{name}", folder / f"policy-{name}"
        fields = [*page.QUICK, f"init={start}", f"data.train={','.join(data)}", "data.eval=gold/helpful"]
        judged = train_reward_model(changed(_helpful(), [*fields, f"seed={seed}"]), judge)
        train_policy_against(judge, start, policy, seed)
        summarize(policy)
        summary = json.loads((policy / FILE).read_text())
        rows.append(
            {
                "comparisons": count,
                "accuracy": judged["accuracy"],
                "peak": summary["peak"]["gold"],
                "end": summary["gold_end"],
                "kl": summary["largest_d"] ** 2,
            }
        )
    return rows


def train_policy_against(judge: Path, start: Path, folder: Path, seed: int) -> None:
    """Trains a policy by RLOO with the settings of the study."""
    from configs import overoptimisation, ppo
    from rmjax.stages import train_policy

    fields = [field.format(sft=start) for field in overoptimisation.POLICY]
    fields += [overoptimisation.PENALTY, f"reward={judge}", f"seed={seed}"]
    train_policy(changed(ppo.get_config("rloo"), fields), folder)


def labelled(policy: Path, count: int, output: Path, seed: int, number: int) -> Path:
    """Writes comparisons of a policy's responses to training prompts, ranked with the noise of the corpus."""
    if output.is_file():
        return output
    from rmjax.data.gold import corpus
    from rmjax.data.gold.reward import gold
    from rmjax.data.sources import load_comparisons
    from rmjax.scoring.language_model import load_language_model

    rng = np.random.default_rng((seed, number))
    prompts = [each.prompt for each in load_comparisons("gold/helpful", "train", manual_dir="")]
    chosen = [prompts[i] for i in rng.permutation(len(prompts))[:count]]
    model = load_language_model(policy)
    sampler = model.sampler(model.settings(max_response=48))
    responses = model.generate(chosen, SAMPLES, seed=number, sampler=sampler).responses
    lines = []
    for prompt, group in zip(chosen, responses, strict=True):
        texts = list(dict.fromkeys(each.text for each in group))
        if len(texts) > 1:
            noise = -np.log(-np.log(rng.random(len(texts))))
            scores = [gold(prompt, text).helpful + corpus.TEMPERATURE * z for text, z in zip(texts, noise, strict=True)]
            turns = [message._asdict() for message in prompt]
            lines.append(json.dumps({"prompt": turns, "responses": texts, "scores": scores}) + "\n")
    output.write_text("".join(lines))
    return output


def changed(config: Any, fields: Sequence[str]) -> Any:
    """Returns a configuration with fields changed, as on the command line without `--config.`."""
    flat = {}
    for field in fields:
        name, _, text = field.partition("=")
        old = config
        for part in name.split("."):
            old = old[part]
        flat[name] = text if isinstance(old, str) else type(old)(float(text))
    config.update_from_flattened_dict(flat)
    return config


def _helpful() -> Any:
    from configs import helpful

    return helpful.get_config()


def table(found: dict[tuple[str, int], list[dict[str, float]]]) -> list[dict[str, str]]:
    """Returns a row for every arm and round."""

    def cell(rows: Sequence[dict[str, float]], key: str, form: str = ".2f", scale: float = 1.0) -> str:
        values = scale * np.array([row[key] for row in rows])
        error = f" ± {values.std(ddof=1) / math.sqrt(len(values)):{form}}" if len(values) > 1 else ""
        return f"{values.mean():{form}}{error}"

    return [
        {
            "new labels": arm if number else "-",
            "round": str(number),
            "comparisons": f"{rows[0]['comparisons']:,.0f}",
            "judge's accuracy, %": cell(rows, "accuracy", ".1f", 100),
            "gold at the peak": cell(rows, "peak"),
            "gold at the end": cell(rows, "end"),
            "KL at the end": cell(rows, "kl", ".1f"),
            "seeds": str(len(rows)),
        }
        for (arm, number), rows in found.items()
    ]


if __name__ == "__main__":
    main()
