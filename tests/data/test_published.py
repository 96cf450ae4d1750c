"""Records of published data sets, compared with the same data as JSON lines."""

import collections
import json

import pytest

from rmjax.data.published import ATTRIBUTES
from rmjax.data.records import parse_comparison, parse_prompt, parse_scoring, remarks
from rmjax.data.sources import load_comparisons, load_demonstrations
from rmjax.errors import InputError
from rmjax.stages.datasets import fingerprint

QUESTION = "How do I boil an egg?"


def user(text):
    return {"content": text, "role": "user"}


def assistant(text):
    return {"content": text, "role": "assistant"}


def completion(text, score):
    annotations = {"helpfulness": {"Rating": "4", "Rationale": "It helps."}}
    rated = {"fine-grained_score": score, "overall_score": 7.0, "annotations": annotations}
    return {"model": "a model", "principle": "helpfulness", "critique": "Good.", "response": text, **rated}


ULTRAFEEDBACK = {
    "source": "sharegpt",
    "instruction": QUESTION,
    "models": ["a", "b", "c"],
    "completions": [completion("Seven minutes.", 4.25), completion("No.", 1.0), completion("Boil it.", 4.25)],
    "correct_answers": ["None"],
    "incorrect_answers": ["None"],
}
BINARIZED = {
    "prompt": QUESTION,
    "prompt_id": "0f",
    "chosen": [user(QUESTION), assistant("Seven minutes.")],
    "rejected": [user(QUESTION), assistant("No.")],
    "messages": [user(QUESTION), assistant("Seven minutes.")],
    "score_chosen": 8.5,
    "score_rejected": 3.0,
}
HELPSTEER2 = {
    "split": "train",
    "prompt": QUESTION,
    "response_1": "Seven minutes.",
    "response_2": "No.",
    "preference_strength": -2,
    "preference_statement": "Response 1 is better than Response 2.",
}
HELPSTEER3 = {
    "domain": "general",
    "language": "english",
    "context": [user("Hi."), assistant("Hello."), user(QUESTION)],
    "response1": "No.",
    "response2": "Seven minutes.",
    "overall_preference": 3,
    "individual_preference": [{"score": 3, "reasoning": "It helps.", "feedback_summary": ""}],
}
SKYWORK = {
    "chosen": [user(QUESTION), assistant("Seven minutes.")],
    "rejected": [user(QUESTION), assistant("No.")],
    "source": "magpie_ultra",
}
PAIR = {"prompt": QUESTION, "chosen": "Seven minutes.", "rejected": "No."}
EXPECTED = {
    "ultrafeedback": (
        ULTRAFEEDBACK,
        {"prompt": QUESTION, "responses": ["Seven minutes.", "No.", "Boil it."], "scores": [4.25, 1, 4.25]},
        ["source", "models", "correct_answers", "incorrect_answers"],
    ),
    "binarized": (
        BINARIZED,
        {"prompt": QUESTION, "responses": ["Seven minutes.", "No."], "scores": [8.5, 3]},
        ["prompt_id", "messages"],
    ),
    "helpsteer2": (HELPSTEER2, {**PAIR, "strength": "better"}, ["split", "preference_statement"]),
    "helpsteer3": (
        HELPSTEER3,
        {
            "prompt": HELPSTEER3["context"],
            "responses": ["No.", "Seven minutes."],
            "ranks": [2, 1],
            "strength": "significantly_better",
        },
        ["domain", "language", "individual_preference"],
    ),
    "skywork": (SKYWORK, PAIR, ["source"]),
}


def write(path, kind, record):
    """One record twice, as JSON lines, as parquet, or as a data set in the folder of a hub's repository."""
    if kind == "jsonl":
        path.write_text((json.dumps(record) + "\n") * 2)
        return f"jsonl:{path}"
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    folder = path.with_suffix("")
    folder.mkdir()
    parquet.write_table(pyarrow.Table.from_pylist([record, record]), folder / "train.parquet")
    return f"parquet:{folder}/train.parquet" if kind == "parquet" else f"hf:{folder}"


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "hf"])
@pytest.mark.parametrize("name", EXPECTED)
def test_a_published_record_is_that_of_the_same_data_as_json_lines(tmp_path, monkeypatch, kind, name):
    if kind == "hf":
        datasets = pytest.importorskip("datasets")
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    record, same, not_read = EXPECTED[name]
    notes = collections.Counter()
    found = load_comparisons(write(tmp_path / "published.x", kind, record), "train", notes=notes)
    expected = load_comparisons(write(tmp_path / "same.jsonl", "jsonl", same), "train")
    assert fingerprint(found) == fingerprint(expected)
    assert notes == {f'key "{key}" not read': 2 for key in not_read}


@pytest.mark.parametrize(
    ("preference", "ranks", "strength"),
    [
        (-3, (1, 2), "significantly_better"),
        (-1, (1, 2), "slightly_better"),
        (0, (1, 1), None),
        (2, (2, 1), "better"),
    ],
)
@pytest.mark.parametrize(
    ("record", "key"), [(HELPSTEER2, "preference_strength"), (HELPSTEER3, "overall_preference")], ids=["2", "3"]
)
def test_a_preference_below_0_is_for_the_first_response(record, key, preference, ranks, strength):
    comparison = parse_comparison({**record, key: preference})
    assert comparison.ranks == ranks
    assert comparison.strengths == (None if strength is None else (strength,))


def test_equal_ratings_are_ties():
    assert parse_comparison({**BINARIZED, "score_rejected": 8.5}).ranks == (1, 1)


def test_records_to_score_and_to_generate_from_have_the_same_forms():
    assert parse_scoring(HELPSTEER2)[1] == ("Seven minutes.", "No.")
    assert parse_prompt(ULTRAFEEDBACK)[0].content == QUESTION
    assert remarks(SKYWORK) == ('key "source" not read',)


def test_a_record_without_two_completions_is_skipped_and_counted(tmp_path):
    path, notes = tmp_path / "data.jsonl", collections.Counter()
    records = [ULTRAFEEDBACK, {**ULTRAFEEDBACK, "completions": []}]
    path.write_text("\n".join(map(json.dumps, records)))
    assert len(load_comparisons(f"jsonl:{path}", "train", notes=notes)) == 1
    assert notes["record of UltraFeedback with fewer than two completions skipped"] == 1


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({**HELPSTEER2, "preference_strength": 4}, '"preference_strength" must be from -3 to 3, found 4'),
        ({**HELPSTEER3, "overall_preference": "2"}, '"overall_preference" must hold whole numbers, found text'),
        ({**ULTRAFEEDBACK, "completions": "none"}, '"completions" must be a list, found text'),
        ({**ULTRAFEEDBACK, "completions": [{"response": "a"}] * 2}, 'must have "response" and "fine-grained_score"'),
        ({**BINARIZED, "score_chosen": None}, '"scores" must hold finite numbers, found null'),
    ],
)
def test_a_wrong_value_is_refused_with_its_origin(record, message):
    with pytest.raises(InputError, match=message) as refusal:
        parse_comparison(record, "data.jsonl:3")
    assert str(refusal.value).startswith("data.jsonl:3: ")


def rated(prompt, response, *ratings):
    return {"prompt": prompt, "response": response, **dict(zip(ATTRIBUTES, ratings, strict=True))}


def test_rated_responses_to_a_prompt_are_a_comparison_for_each_attribute(tmp_path):
    records = [
        rated(QUESTION, "Seven minutes.", 4, 4, 4, 2, 1),
        rated(QUESTION, "No.", 0, 1, 4, 0, 0),
        rated("Alone?", "Yes.", 3, 3, 3, 3, 3),
        rated("Is ice cold?", "Yes.", 3, 3, 3, 3, 3),
        rated("Is ice cold?", "No.", 1, 3, 4, 0, 2),
        PAIR,
    ]
    (tmp_path / "rated.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    notes = collections.Counter()
    found = load_comparisons(f"jsonl:{tmp_path}/rated.jsonl", "train", notes=notes)
    assert [(each.head, each.scores) for each in found[:5]] == [
        ("helpfulness", (4, 0)),
        ("correctness", (4, 1)),
        ("coherence", (4, 4)),
        ("complexity", (2, 0)),
        ("verbosity", (1, 0)),
    ]
    assert [each.ranks for each in found[:5]] == [(1, 2), (1, 2), (1, 1), (1, 2), (1, 2)]
    assert [each.scores for each in found[5:10]] == [(3, 1), (3, 3), (3, 4), (3, 0), (3, 2)]
    assert (len(found), found[10].responses, found[10].origin[-2:]) == (11, ("Seven minutes.", "No."), ":6")
    assert notes == {"record of HelpSteer with one response to its prompt skipped": 1}
    shown = load_demonstrations(f"jsonl:{tmp_path}/rated.jsonl", "train")
    assert [each.response for each in shown] == ["Seven minutes.", "No.", "Yes.", "Yes.", "No.", "Seven minutes."]
