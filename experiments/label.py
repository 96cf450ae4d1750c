"""A page where a person ranks responses; the judgements train as they are.

    python experiments/label.py --input=RESPONSES.jsonl --output=LABELS.jsonl --rater=NAME --heads=helpful,safety
    python experiments/train.py --config=configs/joint.py:minilm \\
        --config.data.train=jsonl:LABELS.jsonl --config.data.eval=holdout

A line of the input has a prompt and two to nine responses: the output of experiments/generate.py, or any record that
experiments/score.py reads. Rankings that it states are not shown. The page is at http://127.0.0.1:8001/.

A line of the output is `{"prompt", "responses", "ranks", "unsafe", "head", "rater", "item", "time"}`, and `strength`
for two responses. Every judgement is on the disk before the next item is shown. The same command goes on where a rater
stopped. Each rater who works at the same time needs a file; --compare=FILE,FILE shows the agreement with other files.

--order=disagreement asks first for items that the reward models of --checkpoint=A,B,C judge most differently.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from absl import flags

from rmjax.cli import reading_flags, runtime, script
from rmjax.errors import InputError


def main() -> None:
    try:
        from rmjax.labelling.app import make_app
        from rmjax.serving.web import TOKEN, Address, make_server, run
    except ModuleNotFoundError as error:
        raise InputError(f'the page needs {error.name}: run `pip install -e ".[serve]"`') from None
    from rmjax.labelling.items import Item, by_disagreement, random_order, read_items
    from rmjax.labelling.journal import Journal, read_judgements
    from rmjax.labelling.session import Session

    arguments = flags.FLAGS
    by_models = arguments.order == "disagreement"
    if by_models != bool(arguments.checkpoint) or len(arguments.checkpoint or ()) == 1:
        raise InputError("--order=disagreement and several checkpoints, joined by commas, belong together")
    address = Address(arguments.host, arguments.port, os.environ.get(TOKEN, ""))
    items: list[Item] = random_order(read_items(arguments.input, reading_flags.reading()), arguments.seed)
    journal = Journal(Path(arguments.output))
    if journal.repaired:
        print(
            f"warning: removed {journal.repaired} bytes at the end of {arguments.output}: a judgement whose saving was "
            "interrupted",
            file=sys.stderr,
        )
    others = [record for path in arguments.compare for record in read_judgements(Path(path))]
    if by_models:
        from rmjax.scoring.checkpoint import load

        items = by_disagreement(items, [load(path) for path in arguments.checkpoint], arguments.heads[0])
    session = Session(items, journal, arguments.rater, arguments.heads, others)
    done = len(journal.records)

    def ready(url: str) -> None:
        state = session.current()
        print(f"{url} asks {state['rater']} for {state['total'] - state['done']} items; Ctrl-C ends it", flush=True)

    run(make_server(make_app(session, address), connections=64, seconds=5), address, ready)
    print(f"{arguments.output}: {len(journal.records)} lines, {len(journal.records) - done} of them new")


if __name__ == "__main__":
    runtime.prepare_process()
    reading_flags.define("ignore")
    flags.DEFINE_string("input", None, "JSON lines with a prompt and two to nine responses; -: standard input.")
    flags.DEFINE_string("output", None, "JSON lines; judgements are appended.")
    flags.DEFINE_string("rater", None, "Name of the person who judges.")
    flags.DEFINE_list("heads", ["helpful"], "Heads that are judged; each has a separate ranking.")
    flags.DEFINE_list("compare", [], "Files of other raters, for the agreement.")
    flags.DEFINE_enum("order", "random", ["random", "disagreement"], "Order of the items.")
    flags.DEFINE_list("checkpoint", None, "With --order=disagreement: reward models with the first head.")
    flags.DEFINE_integer("seed", 0, "Seed of the random order.")
    flags.DEFINE_string("host", "127.0.0.1", "Address to listen at; another than this machine's needs RMJAX_TOKEN.")
    flags.DEFINE_integer("port", 8001, "Port to listen at; 0: a free one.")
    flags.mark_flags_as_required(["input", "output", "rater"])
    script.run(main)
