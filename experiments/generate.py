"""Responses of a language model to the prompts of a file.

    python experiments/generate.py --checkpoint=runs/helpful/sft --input=PROMPTS.jsonl --output=OUT.jsonl --n=4

A line of the input is `{"prompt"}` with a text or chat messages, `{"messages"}` that end with a user turn, or any
record that training accepts, whose responses are not read. With --text every line is the text of a user; so it is in a
file whose name ends with .txt.

A line of the output is `{"prompt", "responses": [{"text", "tokens", "logprob", "stopped"}, ...]}`. `tokens` is the
number of sampled tokens, `logprob` the sum of their log-probabilities in nats: those of the model at the temperature
(at 1 if greedy), before top-k and top-p. `stopped` is false for a response that was cut at --max_response.

A response depends on the seed and on the numbers of its line and sample, not on the other lines. `--input=-` is
standard input, and `--output=-` is standard output, for which messages go to standard error.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sys

from absl import flags

from rmjax.cli import reading_flags, runtime, script
from rmjax.cli.output import is_stdout, written
from rmjax.data.prompt_file import read_prompts
from rmjax.errors import InputError

LINES = 256  # prompts that are read, answered and written together


def main() -> None:
    arguments = flags.FLAGS
    to_stdout = is_stdout(arguments.output)
    if arguments.n < 1:
        raise InputError(f"--n={arguments.n} must be at least 1")
    if arguments.greedy and arguments.n > 1:
        raise InputError(f"--greedy gives the same response {arguments.n} times: set --n=1")
    # The records may go to standard output, so nothing else is printed there before the end.
    with contextlib.redirect_stdout(sys.stderr), written(arguments.output, to_stdout) as file:
        from rmjax.scoring.language_model import load_language_model

        hub = {name: getattr(arguments, name) for name in ("template", "max_prompt", "date")}
        model = load_language_model(arguments.checkpoint, layout=arguments.layout, **hub)
        settings = model.settings(
            max_response=arguments.max_response,
            temperature=0.0 if arguments.greedy else arguments.temperature,
            top_k=arguments.top_k,
            top_p=arguments.top_p,
        )
        sampler = model.sampler(settings)
        lines = cut = tokens = limited = 0
        prompts = read_prompts(arguments.input, reading_flags.reading(), text=arguments.text)
        while part := list(itertools.islice(prompts, LINES)):
            generated = model.generate(
                [prompt for prompt, _ in part], arguments.n, seed=arguments.seed, first_prompt=lines, sampler=sampler
            )
            for (_, stated), responses in zip(part, generated.responses, strict=True):
                record = {"prompt": stated, "responses": [response._asdict() for response in responses]}
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
                tokens += sum(response.tokens for response in responses)
                limited += sum(not response.stopped for response in responses)
            lines, cut = lines + len(part), cut + sum(count > 0 for count in generated.cut)
    if cut:
        print(f"warning: {cut} of {lines} prompts are too long and lost their first tokens", file=sys.stderr)
    summary = (
        f"{arguments.output}: {lines} prompts, {lines * arguments.n} responses, {tokens} tokens; {limited} responses "
        f"were cut at max_response={settings.max_response}"
    )
    print(summary, file=sys.stderr if to_stdout else sys.stdout)


if __name__ == "__main__":
    runtime.prepare_process()
    reading_flags.define("ignore")
    flags.DEFINE_string("checkpoint", None, "SFT run, a checkpoint in it, or a Hugging Face folder.")
    flags.DEFINE_string("input", None, "JSON lines, or .txt with a user's text on each line; -: standard input.")
    flags.DEFINE_string("output", None, "JSON lines with prompts and responses; -: standard output.")
    flags.DEFINE_boolean("text", False, "Input lines are texts of a user, not JSON.")
    flags.DEFINE_integer("n", 1, "Number of responses to each prompt.")
    flags.DEFINE_integer("max_response", 0, "Most tokens of a response, its ending included; 0: the model's limit.")
    flags.DEFINE_float("temperature", 1.0, "Divides the logits; lower is closer to the likeliest tokens.")
    flags.DEFINE_integer("top_k", 0, "Sample from the k likeliest tokens; 0: from all.")
    flags.DEFINE_float("top_p", 1.0, "Sample from the likeliest tokens with at least this total probability.")
    flags.DEFINE_boolean("greedy", False, "Always take the likeliest token.")
    flags.DEFINE_integer("seed", 0, "Seed of the random numbers.")
    flags.DEFINE_enum("layout", "pmap", ["pmap", "fsdp", "tensor"], "Layout over the devices; see docs/scaling.md.")
    flags.DEFINE_string("template", "", "Hugging Face folder: chat template by name; empty: its own.")
    flags.DEFINE_integer("max_prompt", 0, "Hugging Face folder: tokens that a prompt keeps at least; 0: half of all.")
    flags.DEFINE_string("date", "", "Hugging Face folder: current date for its chat template, YYYY-MM-DD.")
    flags.mark_flags_as_required(["checkpoint", "input", "output"])
    script.run(main)
