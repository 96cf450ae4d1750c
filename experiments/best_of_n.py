"""Best-of-n sampling of a policy against a reward model: KL divergence, score, gold reward and win rate over n.

    python experiments/best_of_n.py --checkpoint=runs/helpful --policy=runs/helpful/sft --output=RESULT.json

Samples N responses to every prompt once, scores them once, and prints a row for every n: the expected result of the
best of n samples, over all subsets of size n, with 95 % intervals over prompts. `gain` is the difference from n = 1.

Prompts are those of `--data`, a source of data, or of `--input`, a file in the forms that generate.py reads. If neither
is given and the policy was trained on the embedded corpus, they are the corpus's test prompts. The gold reward is known
for prompts of the corpus: then the n with the highest gold reward is printed too. `--rules` adds a table of other ways
to choose, for the largest n: soft best-of-n, best-of-Poisson and inference-time pessimism (docs/rlhf.md).

`--winners` writes the best of the first n samples of every prompt, for the largest n, as demonstrations: sft.py trains
on them (expert iteration). Winners that were cut at the most tokens are left out and counted. Next to RESULT.json,
RESULT.scores.npz has the scores and the gold rewards of all samples, `[prompts, N]`.
"""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

from rmjax.cli import checkpoint_flags, reading_flags, runtime, script
from rmjax.cli.output import console_apart_from, is_stdout, write_result, written
from rmjax.data.comparisons import Prompt
from rmjax.data.prompt_file import read_prompts
from rmjax.data.sources import load_prompts, parse_sources
from rmjax.errors import InputError
from rmjax.evaluation.best_of_n_curve import curve, curve_rows, hedge_tune
from rmjax.evaluation.best_of_n_rules import FORMS, parse_rule, rule_rows, rule_table
from rmjax.evaluation.bootstrap import Bootstrap
from rmjax.evaluation.evaluate import json_safe
from rmjax.evaluation.text_table import interval_text, text_table

if TYPE_CHECKING:
    from rmjax.rlhf.candidates import Candidates


def main() -> None:
    with console_apart_from(flags.FLAGS.output):
        measure()


def measure() -> None:
    """Samples and scores the responses, prints the table, and writes the results."""
    arguments = flags.FLAGS
    ns, rules = sample_numbers(), [parse_rule(text) for text in arguments.rules]
    samples = arguments.samples or 2 * ns[-1]
    if ns[-1] > samples:
        raise InputError(f"--n={ns[-1]} is more than --samples={samples}: draw at least as many")
    rule_rows(np.zeros((1, samples)), {}, ns[-1], rules, Bootstrap(0, 0))  # refuses too few samples before the work
    if arguments.data and arguments.input:
        raise InputError("--data and --input both name prompts: give one of them")
    if arguments.winners and (is_stdout(arguments.winners) or not Path(arguments.winners).parent.is_dir()):
        raise InputError(f"--winners={arguments.winners} must be a file in a folder that exists")
    from rmjax.rlhf.candidates import draw_candidates
    from rmjax.rlhf.scores import from_gold
    from rmjax.scoring.language_model import load_language_model
    from rmjax.stages.rl_models import language_model_of

    path = language_model_of(Path(arguments.policy))
    prompts, source, rewards = choose_prompts(path)
    stated = {name: getattr(arguments, f"policy_{name}") for name in ("template", "max_prompt", "date")}
    policy = load_language_model(path, layout=arguments.layout, **stated)
    sampling = {name: getattr(arguments, name) for name in ("temperature", "top_k", "top_p")}
    settings = policy.settings(max_response=arguments.max_tokens, **sampling)
    model = checkpoint_flags.load_checkpoint()
    head = model.pick_head(arguments.head)
    lost: list[np.ndarray] = []

    def score(prompts: Sequence[Prompt], texts: Sequence[Sequence[str]]) -> list[np.ndarray]:
        scored = model.score_groups(prompts, texts)
        lost.extend(scored.cut)
        return [model.rescale(raw_KxZ[:, model.heads.index(head)], arguments.scale, head) for raw_KxZ in scored.raw]

    found = draw_candidates(
        policy,
        prompts,
        samples,
        sampler=policy.sampler(settings),
        score=score,
        gold={name: from_gold(name) for name in rewards},
        winner_of=ns[-1],
        seed=arguments.seed,
    )
    bootstrap = Bootstrap(arguments.bootstrap, arguments.seed)
    rows = curve(found.score, found.gold, ns, bootstrap)
    print(f"\n{len(prompts)} prompts of {source}, {samples} samples each, {arguments.scale} score of the head {head}\n")
    print(text_table(curve_rows(rows)) + "\n")
    chosen = rule_rows(found.score, found.gold, ns[-1], rules, bootstrap)
    if chosen:
        print(f"other rules that choose among n = {ns[-1]} samples:\n\n{text_table(rule_table(chosen))}\n")
    if found.cut_prompts:
        print(f"warning: {found.cut_prompts} prompts are too long and lost their first tokens", file=sys.stderr)
    truncation = checkpoint_flags.report_truncation(lost)
    print(
        f"{found.distinct:.0f} of the {samples} samples of a prompt are different texts; {100 * found.cut:.1f} % were "
        f"cut at {settings.max_response} tokens"
    )
    best = {}
    for name, gold in found.gold.items() if ns[-1] > 1 else ():
        best[name] = hedge_tune(found.score, gold, max_n=ns[-1], bootstrap=bootstrap)
        end = "more samples make it worse" if best[name].peaked else "it is the largest n: no peak was found"
        interval = interval_text(best[name].interval, ", 95 % interval {}", scale=1)
        print(f"highest gold {name}: {best[name].gold:.3f} at n = {best[name].n:.1f}{interval}; {end}")
    if arguments.winners:
        write_winners(prompts, found, ns[-1])
    if arguments.output:
        result = {
            "checkpoint": ",".join(arguments.checkpoint),
            "policy": str(path),
            "data": source,
            "head": head,
            "scale": arguments.scale,
            "prompts": len(prompts),
            "samples": samples,
            "sampling": dataclasses.asdict(settings) | {"seed": arguments.seed},
            "distinct": found.distinct,
            "cut": found.cut,
            "truncation": truncation,
            "best_n": {name: each._asdict() for name, each in best.items()},
            "curve": rows,
            "rules": chosen,
        }
        write_result(arguments.output, json_safe(result), {".scores.npz": scores_file(found)})


def sample_numbers() -> list[int]:
    """Returns the numbers n of --n, ascending."""
    try:
        ns = sorted({int(text) for text in flags.FLAGS.n})
    except ValueError:
        raise InputError(f"--n={','.join(flags.FLAGS.n)} must be whole numbers, joined by commas") from None
    if not ns or ns[0] < 1:
        raise InputError(f"--n={','.join(flags.FLAGS.n)} must be numbers of at least 1")
    return ns


def choose_prompts(policy: Path) -> tuple[list[Prompt], str, tuple[str, ...]]:
    """Returns the prompts, where they are from, and their gold rewards."""
    from rmjax.stages.rl_prompts import gold_rewards_of

    arguments, reading = flags.FLAGS, reading_flags.reading()
    if arguments.prompts < 1:
        raise InputError(f"--prompts={arguments.prompts} must be at least 1")
    if arguments.input:
        records = read_prompts(arguments.input, reading, text=arguments.text)
        return [prompt for prompt, _ in islice(records, arguments.prompts)], arguments.input, tuple(arguments.gold)
    data = arguments.data or corpus_of(policy)
    items = load_prompts(data, "test", manual_dir=arguments.manual_dir, reading=reading)
    prompts = list(dict.fromkeys(item.prompt for item in items))[: arguments.prompts]
    return prompts, data, tuple(arguments.gold) or gold_rewards_of(data)


def corpus_of(policy: Path) -> str:
    """Returns the part of the embedded corpus that a policy was trained on, as a source of data."""
    from rmjax.scoring.checkpoint import is_hugging_face
    from rmjax.scoring.contract import read_contract
    from rmjax.scoring.run_checkpoints import find_checkpoint

    learned = "" if is_hugging_face(policy) else read_contract(find_checkpoint(policy) / "contract.json").data["source"]
    if not learned.startswith("gold/"):
        raise InputError(f"{policy} was not trained on the embedded corpus: name prompts with --data or --input")
    return f"gold/{parse_sources(learned)[0].name}"


def write_winners(prompts: Sequence[Prompt], found: Candidates, n: int) -> None:
    """Writes the winners as demonstrations."""
    output, kept = flags.FLAGS.winners, 0
    with written(output, to_stdout=False) as file:
        for prompt, winner, score in zip(prompts, found.winners, found.winner_score.tolist(), strict=True):
            if winner.stopped:
                turns = [message._asdict() for message in prompt]
                record = {"prompt": turns, "response": winner.text, "n": n, "score": score}
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
                kept += 1
    print(f"{output}: {kept} winners of {n}; {len(prompts) - kept} were cut and are left out")


def scores_file(found: Candidates) -> bytes:
    """Returns the scores and gold rewards of all samples as the content of an npz file."""
    file = io.BytesIO()
    arrays: dict[str, Any] = {"score": found.score, **{f"gold_{name}": gold for name, gold in found.gold.items()}}
    np.savez_compressed(file, **arrays)
    return file.getvalue()


if __name__ == "__main__":
    runtime.prepare_process()
    checkpoint_flags.define()
    reading_flags.define("ignore")
    flags.DEFINE_string("policy", None, "Run of SFT or RL, a checkpoint in it, or a Hugging Face folder.")
    flags.DEFINE_list("n", "1,2,4,8,16,32,64,128,256", "Numbers of samples of which the best one is taken.")
    flags.DEFINE_list("rules", "", f"Other ways to choose, for the largest n: {FORMS}; joined by commas.")
    flags.DEFINE_integer("samples", 0, "Samples of each prompt; 0: twice the largest n.")
    flags.DEFINE_integer("prompts", 128, "Number of prompts, the first ones.")
    flags.DEFINE_string("data", "", "Prompts by the name of a source: gold/helpful, jsonl:FILE, ...")
    flags.DEFINE_string("input", "", "Prompts of a file: JSON lines, or .txt with a user's text on each line.")
    flags.DEFINE_boolean("text", False, "Lines of --input are texts of a user, not JSON.")
    flags.DEFINE_string("manual_dir", "", "Folder with the files of HH-RLHF; empty: download.")
    flags.DEFINE_list("gold", "", "Gold rewards to measure: helpful, safety; empty: those of the corpus's prompts.")
    flags.DEFINE_string("output", None, "JSON file for the results; -: standard output; none: they are only printed.")
    flags.DEFINE_string("winners", None, "JSON lines with the best response to each prompt, as demonstrations.")
    flags.DEFINE_string("head", None, "Head that scores; optional if the model has a single one.")
    flags.DEFINE_enum("scale", "raw", ["raw", "normalized", "probability"], "Scale of scores; see RewardModel.score.")
    flags.DEFINE_integer("max_tokens", 0, "Most tokens of a sample, its ending included; 0: the policy's limit.")
    flags.DEFINE_float("temperature", 1.0, "Divides the logits; lower is closer to the likeliest tokens.")
    flags.DEFINE_integer("top_k", 0, "Sample from the k likeliest tokens; 0: from all.")
    flags.DEFINE_float("top_p", 1.0, "Sample from the likeliest tokens with at least this total probability.")
    flags.DEFINE_integer("bootstrap", 2000, "Bootstrap resamples of the prompts for the intervals.")
    flags.DEFINE_integer("seed", 0, "Seed of the samples and of the bootstrap.")
    flags.DEFINE_enum("layout", "pmap", ["pmap", "fsdp", "tensor"], "Layout of the policy; see docs/scaling.md.")
    flags.DEFINE_string("policy_template", "", "Hugging Face folder of the policy: chat template; empty: its own.")
    flags.DEFINE_integer("policy_max_prompt", 0, "Hugging Face folder of the policy: tokens left of a prompt; 0: half.")
    flags.DEFINE_string("policy_date", "", "Hugging Face folder of the policy: date of its template, YYYY-MM-DD.")
    flags.mark_flag_as_required("policy")
    script.run(main)
