"""Judgements over HTTP: their file, crashes, undo, raters, and their order."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from running_server import send, started

from rmjax.data.sources import load_comparisons
from rmjax.errors import InputError
from rmjax.labelling.agreement import agreement
from rmjax.labelling.app import make_app
from rmjax.labelling.items import Item, by_disagreement, item_key, random_order, read_items, shuffled
from rmjax.labelling.journal import Journal
from rmjax.labelling.session import Session
from rmjax.scoring.link import BRADLEY_TERRY
from rmjax.serving.web import Address

ROOT = Path(__file__).resolve().parents[2]
HEADS = ("helpful", "safety")


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return str(path)


@pytest.fixture
def source(tmp_path):
    """Three pairs and one list of three responses."""
    pairs = [{"prompt": f"Question {i}?", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(3)]
    return write(tmp_path / "in.jsonl", [*pairs, {"prompt": "Which?", "responses": ["a", "b", "c"]}])


@contextlib.contextmanager
def labelling(source, output, rater="anna", heads=HEADS, others=()):
    """Yields the port of a page for one rater."""
    journal = Journal(Path(output))
    session = Session(read_items(source), journal, rater, heads, others)
    address = Address(port=0)
    try:
        with started(make_app(session, address), address) as (_, port):
            yield port
    finally:
        journal.close()


def lines(path):
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def judgement(state, best_first, *, strength="better", heads=HEADS, unsafe=()):
    """The body that the page sends for an order of texts, best first; a tuple is a tie."""
    rank = {}
    for group in best_first:
        group = group if isinstance(group, tuple) else (group,)
        rank |= dict.fromkeys(group, 1 + len(rank))
    ranks = [rank[text] for text in state["responses"]]
    return {
        "item": state["item"],
        "ranks": dict.fromkeys(heads, ranks),
        "strength": dict.fromkeys(heads, strength),
        "unsafe": [text in unsafe for text in state["responses"]],
    }


def pair_order(state):
    return sorted(state["responses"], key=lambda text: text.startswith("bad"))


def test_judgements_become_records_that_are_read_as_comparisons(source, tmp_path):
    output = tmp_path / "out.jsonl"
    with labelling(source, output) as port:
        for i in range(3):
            state = send(port, "/current")[1]
            assert (state["done"], state["total"]) == (i, 4)
            order = [tuple(state["responses"])] if i == 2 else pair_order(state)
            status, following, _ = send(port, "/judge", judgement(state, order, unsafe=[f"bad {i}"]))
            assert (status, following["done"]) == (200, i + 1)
            assert len(lines(output)) == 2 * (i + 1)  # on the disk before the next item is known
        state = following
        body = judgement(state, ["b", ("a", "c")], heads=["safety"])
        body["ranks"]["helpful"] = None
        assert send(port, "/judge", body)[1]["item"] is None
    records = lines(output)
    assert [record["head"] for record in records] == [*HEADS] * 3 + ["safety"]
    assert [record["ranks"] for record in records] == [[1, 2]] * 4 + [[1, 1]] * 2 + [[2, 1, 2]]
    assert [record.get("strength") for record in records] == ["better"] * 4 + [None] * 3
    comparisons = load_comparisons(f"jsonl:{output}", "train", manual_dir="")
    assert [c.ranks for c in comparisons] == [tuple(record["ranks"]) for record in records]
    assert comparisons[0].unsafe == (False, True)
    assert comparisons[0].strengths == ("better",)
    assert comparisons[-1].responses == ("a", "b", "c")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"item": "other"}, "another item"),
        ({"ranks": {"helpful": [1]}}, "1 entries for 2 responses"),
        ({"ranks": {"helpful": [1, "2"]}}, "whole numbers"),
        ({"ranks": {"other": [1, 2]}}, "helpful, safety"),
        ({"ranks": {"helpful": None}}, "nothing is judged"),
        ({"strength": {}}, '"strength" must be text'),
        ({"strength": {"helpful": "very", "safety": "better"}}, "strength must be one of"),
        ({"unsafe": [True]}, "1 entries for 2 responses"),
        ({"unsafe": None}, '"unsafe" must be a list'),
    ],
)
def test_a_wrong_judgement_writes_nothing(source, tmp_path, change, message):
    output = tmp_path / "out.jsonl"
    with labelling(source, output) as port:
        state = send(port, "/current")[1]
        status, answer, _ = send(port, "/judge", {**judgement(state, pair_order(state)), **change})
        assert status == 400
        assert message in answer["error"]
        assert send(port, "/current")[1] == state
    assert lines(output) == []


def test_a_judgement_that_is_sent_twice_is_saved_once(source, tmp_path):
    output = tmp_path / "out.jsonl"
    with labelling(source, output) as port:
        state = send(port, "/current")[1]
        assert [send(port, "/judge", judgement(state, pair_order(state)))[0] for _ in range(2)] == [200, 400]
    assert len(lines(output)) == 2


def test_undo_removes_the_last_judgement_and_no_other_raters(source, tmp_path):
    output = tmp_path / "out.jsonl"
    with labelling(source, output) as port:
        first = send(port, "/current")[1]
        second = send(port, "/judge", judgement(first, pair_order(first)))[1]
        before = output.read_bytes()
        send(port, "/judge", judgement(second, pair_order(second)))
        again = send(port, "/undo", {})[1]
        assert (again["item"], again["done"], output.read_bytes()) == (second["item"], 1, before)
        send(port, "/judge", judgement(again, pair_order(again)))
    with labelling(source, output, "ben") as port:
        status, answer, _ = send(port, "/undo", {})
        assert (status, len(lines(output))) == (400, 4)
        assert "no judgement of yours" in answer["error"]
    with labelling(source, output) as port:  # the same rater goes on, and may undo what an earlier process wrote
        assert send(port, "/current")[1]["done"] == 2
        assert send(port, "/undo", {})[1]["done"] == 1
        skipped = send(port, "/current")[1]["item"]
        assert send(port, "/skip", {"item": skipped})[1]["item"] != skipped
    assert len(lines(output)) == 2


def test_a_killed_process_loses_nothing_that_was_confirmed(source, tmp_path):
    output = tmp_path / "out.jsonl"
    command = [sys.executable, str(ROOT / "experiments" / "label.py"), f"--input={source}", f"--output={output}"]
    process = subprocess.Popen([*command, "--rater=anna", "--port=0"], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    port = int(process.stdout.readline().split()[0].rpartition(":")[2])
    state = send(port, "/current")[1]
    for _ in range(2):
        state = send(port, "/judge", judgement(state, pair_order(state), heads=["helpful"]))[1]
    process.kill()
    process.wait()
    assert len(lines(output)) == 2
    with output.open("ab") as file:
        file.write(b'{"prompt": "half a li')  # a crash of the machine in the middle of a write
    done = subprocess.Popen(
        [*command, "--rater=anna", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    line = done.stdout.readline()
    assert " asks anna for 2 items" in line
    assert send(int(line.split()[0].rpartition(":")[2]), "/current")[1]["item"] == state["item"]
    done.send_signal(signal.SIGTERM)
    out, err = done.communicate(timeout=30)
    assert (done.returncode, out) == (0, f"{output}: 2 lines, 0 of them new\n")
    assert "removed 21 bytes" in err
    assert len(lines(output)) == 2


def test_a_file_has_one_writer_and_only_judgements(source, tmp_path):
    journal = Journal(tmp_path / "out.jsonl")
    with pytest.raises(InputError, match="another process writes to"):
        Journal(tmp_path / "out.jsonl")
    journal.close()
    with pytest.raises(InputError, match="no judgement"):
        Journal(Path(source))
    with pytest.raises(InputError, match="cannot be opened"):
        Journal(tmp_path / "none" / "out.jsonl")


def test_a_full_disk_leaves_no_part_of_a_judgement(source, tmp_path, monkeypatch):
    output = tmp_path / "out.jsonl"
    with labelling(source, output) as port:
        state = send(port, "/current")[1]
        real = os.fsync
        monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        status, answer, _ = send(port, "/judge", judgement(state, pair_order(state)))
        monkeypatch.setattr(os, "fsync", real)
        assert (status, output.read_bytes()) == (400, b"")
        assert "No space left on device" in answer["error"]
        assert send(port, "/judge", judgement(state, pair_order(state)))[0] == 200
    assert len(lines(output)) == 2


def test_raters_see_items_in_one_order_and_responses_in_their_own(source):
    items = [Item(str(i), (), ("a", "b", "c")) for i in range(200)]
    assert random_order(items, 1) == random_order(items, 1) != random_order(items, 2)
    orders = [tuple(shuffled(item, rater)) for item in items for rater in ("anna", "ben")]
    assert orders[::2] != orders[1::2]
    counts = [orders.count(order) for order in set(orders)]
    assert len(counts) == 6
    assert min(counts) > 40  # of 66.7 expected: 3.6 standard deviations


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"prompt": "?"}, "without responses"),
        ({"prompt": "?", "responses": ["a", "a"]}, "1 different responses"),
        ({"prompt": "?", "responses": list("abcdefghij")}, "10 different responses"),
    ],
)
def test_items_that_cannot_be_ranked_are_errors(tmp_path, record, message):
    with pytest.raises(InputError, match=f"in.jsonl:1: .*{message}"):
        read_items(write(tmp_path / "in.jsonl", [record]))


def test_responses_of_a_language_model_are_items(tmp_path):
    texts = ["a", "b", "a"]
    record = {
        "prompt": "?",
        "responses": [{"text": text, "tokens": 1, "logprob": -1.0, "stopped": True} for text in texts],
    }
    (item,) = read_items(write(tmp_path / "in.jsonl", [record, record]))
    assert item.responses == ("a", "b")
    assert item.key == item_key(item.prompt, ("a", "b"))


def record(item, rater, ranks, head="helpful"):
    return {"prompt": "?", "responses": ["x"] * len(ranks), "ranks": ranks, "head": head, "rater": rater, "item": item}


def test_agreement_and_disagreements_by_hand():
    records = [
        record("p", "anna", [1, 2]),
        record("p", "ben", [1, 2]),
        record("q", "anna", [1, 2]),
        record("q", "ben", [2, 1]),
        record("r", "anna", [2, 1]),
        record("r", "ben", [2, 1]),
        record("s", "anna", [1, 2]),  # of one rater only
        record("p", "anna", [1, 2], "safety"),
    ]
    found = agreement(records)
    # Values 1 1 | 1 -1 | -1 -1, as in the test of alpha.
    assert found["helpful"]["alpha"] == pytest.approx(1 - (8 / 6) / (72 / 30))
    assert found["helpful"]["raters"] == {"anna": 4, "ben": 3}
    assert found["helpful"]["items"] == 3
    (worst,) = found["helpful"]["disagreements"]
    assert (worst["item"], worst["ranks"]) == ("q", {"anna": [1, 2], "ben": [2, 1]})
    assert (found["safety"]["alpha"], found["safety"]["disagreements"]) == (None, [])


def test_the_page_of_one_rater_shows_the_agreement_with_a_file_of_another(source, tmp_path):
    with labelling(source, tmp_path / "anna.jsonl") as port:
        state = send(port, "/current")[1]
        send(port, "/judge", judgement(state, pair_order(state)))
    with labelling(source, tmp_path / "ben.jsonl", "ben", others=lines(tmp_path / "anna.jsonl")) as port:
        state = send(port, "/current")[1]
        send(port, "/judge", judgement(state, pair_order(state)[::-1]))
        found = send(port, "/agreement.json")[1]
        for path in ("/", "/agreement", "/label.js", "/agreement.js", "/style.css"):
            assert send(port, path)[0] == 200
    assert found["helpful"]["disagreements"][0]["ranks"] == {"anna": [1, 2], "ben": [2, 1]}


class Member:
    """A member whose raw score of a response is stated."""

    heads, link = ("helpful",), BRADLEY_TERRY

    def __init__(self, scores):
        self.scores = scores

    def pick_head(self, head):
        return "helpful"

    def raw(self, prompts, responses):
        return [np.array([[self.scores[text]] for text in group], np.float32) for group in responses]


def test_the_ensemble_asks_first_where_its_members_differ():
    items = [Item(name, (), (f"{name}1", f"{name}2")) for name in "abc"]
    scores = {"a1": 0.0, "a2": 0.0, "b1": 3.0, "b2": 0.0, "c1": 1.0, "c2": 0.0}
    opposite = {**scores, "b1": -3.0, "c1": 0.0}
    # Standard deviations of the probabilities: a 0, b 0.45 (0.95 and 0.05), c 0.12 (0.73 and 0.5).
    ordered = by_disagreement(items, [Member(scores), Member(opposite)], "helpful")
    assert [item.key for item in ordered] == ["b", "c", "a"]


@pytest.mark.usefixtures("quick_compilation")
def test_the_file_trains(tmp_path):
    from stages.test_reward_data import settings

    import rmjax
    from rmjax.stages import reward as reward_stage

    pairs = [{"prompt": f"Question {i}?", "responses": [f"good {i}", f"bad {i}"]} for i in range(24)]
    source, output = write(tmp_path / "in.jsonl", pairs), tmp_path / "out.jsonl"
    session = Session(read_items(source), Journal(output), "anna", HEADS)
    state = session.current()
    while state["item"]:
        state = session.judge(judgement(state, pair_order(state)))
    sets = dict.fromkeys(("train", "validation", "test"), f"jsonl:{output}")
    config = settings(sets, init="random", **{"data.eval": "holdout:30%", "data.validation": ""})
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        reward_stage.train_reward_model(config, tmp_path / "run")
    assert rmjax.load(tmp_path / "run").heads == HEADS
