"""Scores the texts of a JSON-lines file with a trained reward model.

    python experiments/score.py --checkpoint=runs/helpful --input=IN.jsonl --output=OUT.jsonl

A line of the input is `{"prompt", "response"}`, `{"prompt", "responses"}` or a comparison in any form that training
accepts. A line of the output is the same record with `scores`, one per response in its order ([chosen, rejected] for
pairs), and with `cut_tokens`, `[prompt, response]` for each response: the tokens that truncation cut off. A record that
is an array is put under `turns`; the ratings that a record states move to `given_scores`. The file is read and written
in parts, so it may be larger than memory, and appears under its name only when complete.
"""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import cli
import numpy as np
from absl import flags

from rmjax.data.jsonl import read_jsonl
from rmjax.data.records import parse_scoring
from rmjax.errors import InputError

LINES = 4096  # read, scored and written together


def main() -> None:
    arguments = flags.FLAGS
    output = Path(arguments.output)
    if not output.parent.is_dir():
        raise InputError(f"the folder of --output={output} does not exist")
    model = cli.load_checkpoint()
    head = model.pick_head(arguments.head)
    column = model.heads.index(head)
    partial = output.with_name(output.name + ".partial")
    lines = responses = 0
    cut: list[np.ndarray] = []
    try:
        with partial.open("w", encoding="utf-8") as file:
            records = read_jsonl(arguments.input)
            while part := list(itertools.islice(records, LINES)):
                parsed = [parse_scoring(record, f"{arguments.input}:{number}") for number, record in part]
                scored = model.score_groups([prompt for prompt, _ in parsed], [texts for _, texts in parsed])
                cut += scored.cut
                for (_, record), scores_KxZ, cut_Kx2 in zip(part, *scored, strict=True):
                    scores = model.rescale(scores_KxZ[:, column], arguments.scale, head)
                    record = record if isinstance(record, dict) else {"turns": record}
                    if "scores" in record:
                        record = {**record, "given_scores": record["scores"]}
                    record = {**record, "scores": scores.tolist(), "cut_tokens": cut_Kx2.tolist()}
                    file.write(json.dumps(record, ensure_ascii=False) + "\n")
                    lines, responses = lines + 1, responses + len(scores)
        os.replace(partial, output)
    finally:
        partial.unlink(missing_ok=True)
    cli.report_truncation(cut)
    print(f"{output}: {lines} lines, {responses} responses, {arguments.scale} scores of the head {head}")


if __name__ == "__main__":
    cli.define_checkpoint()
    flags.DEFINE_string("input", None, "JSON lines, .jsonl or .jsonl.gz.")
    flags.DEFINE_string("output", None, "JSON lines, the same records with scores.")
    flags.DEFINE_string("head", None, "Which head; may be left out where the model has one.")
    flags.DEFINE_enum("scale", "raw", ["raw", "normalized", "probability"], "See RewardModel.score.")
    flags.mark_flags_as_required(["input", "output"])
    cli.run(main)
