"""Scores of the texts of a file, from a trained reward model.

    python experiments/score.py --checkpoint=runs/helpful --input=IN.jsonl --output=OUT.jsonl

The input is JSON lines, or own data in the forms of training, such as csv:FILE. A record is `{"prompt", "response"}`,
`{"prompt", "responses"}` or a comparison in any form that training accepts. A line of the output is the same record
with two more keys. `scores` has one score per response, in their order ([chosen, rejected] for pairs). `cut_tokens` has
`[prompt, response]` for each response: the numbers of tokens that truncation removed. If a record is an array, the
output has it under `turns`. The ratings of a record move to `given_scores`.

The file is read and written in parts, so it may be larger than memory. The output file gets its name only when it is
complete. A symbolic link is followed. A device or a FIFO is written to directly. `--input=-` is standard input, and
`--output=-` is standard output. Warnings go to standard error, and so does the last message with `--output=-`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sys

import numpy as np
from absl import flags

from rmjax.cli import checkpoint_flags, reading_flags, runtime, script
from rmjax.cli.output import is_stdout, written
from rmjax.data.readers import own_records
from rmjax.data.records import parse_scoring

LINES = 4096  # lines that are read, scored and written together


def main() -> None:
    arguments = flags.FLAGS
    to_stdout = is_stdout(arguments.output)
    # The records may go to standard output, so nothing else is printed there before the end.
    with contextlib.redirect_stdout(sys.stderr), written(arguments.output, to_stdout) as file:
        model = checkpoint_flags.load_checkpoint()
        head = model.pick_head(arguments.head)
        column = model.heads.index(head)
        lines = responses = 0
        cut: list[np.ndarray] = []
        reading = reading_flags.reading()
        records = own_records(arguments.input, reading)
        while part := list(itertools.islice(records, LINES)):
            parsed = [parse_scoring(record, origin, reading) for origin, record in part]
            scored = model.score_groups([prompt for prompt, _ in parsed], [texts for _, texts in parsed])
            cut += scored.cut
            for (_, record), scores_KxZ, cut_Kx2 in zip(part, *scored, strict=True):
                scores = model.rescale(scores_KxZ[:, column], arguments.scale, head)
                record = record if isinstance(record, dict) else {"turns": record}
                if "scores" in record:
                    record = {**record, "given_scores": record["scores"]}
                record = {**record, "scores": scores.tolist(), "cut_tokens": cut_Kx2.tolist()}
                file.write(json.dumps(record, ensure_ascii=False, default=str) + "\n")  # parquet has dates
                lines, responses = lines + 1, responses + len(scores)
    checkpoint_flags.report_truncation(cut)
    summary = f"{arguments.output}: {lines} lines, {responses} responses, {arguments.scale} scores of the head {head}"
    print(summary, file=sys.stderr if to_stdout else sys.stdout)


if __name__ == "__main__":
    runtime.prepare_process()
    checkpoint_flags.define()
    reading_flags.define("ignore")
    flags.DEFINE_string(
        "input", None, "JSON lines, .jsonl or .jsonl.gz; csv:FILE, parquet:FILE or hf:OWNER/NAME; -: standard input."
    )
    flags.DEFINE_string("output", None, "JSON lines, the same records with scores; -: standard output.")
    flags.DEFINE_string("head", None, "Head that scores; optional if the model has a single one.")
    flags.DEFINE_enum("scale", "raw", ["raw", "normalized", "probability"], "Scale of scores; see RewardModel.score.")
    flags.mark_flags_as_required(["input", "output"])
    script.run(main)
