"""Parsing of records."""

import pytest

from rmjax.data.comparisons import Message
from rmjax.data.records import parse_comparison, parse_demonstrations, parse_prompt, parse_scoring, remarks
from rmjax.errors import InputError

OVEN = "\n\nHuman: How hot for bread?\n\nAssistant: For a loaf?\n\nHuman: Yes, rye.\n\nAssistant:"
OVEN_PROMPT = (
    Message("user", "How hot for bread?"),
    Message("assistant", "For a loaf?"),
    Message("user", "Yes, rye."),
)
BREAD = (Message("user", "How hot for bread?"),)


def says(role, content):
    return {"role": role, "content": content}


# --- transcripts ------------------------------------------------------------------------------------------------------


def test_the_prompt_of_a_transcript_is_everything_up_to_the_last_assistant_turn():
    comparison = parse_comparison({"chosen": OVEN + " 230 degrees.", "rejected": OVEN + " Hot."}, "file:7")

    assert comparison.prompt == OVEN_PROMPT
    assert comparison.responses == ("230 degrees.", "Hot.")
    assert comparison.ranks == (1, 2)
    assert (comparison.head, comparison.subset, comparison.strengths, comparison.margins) == (None,) * 4
    assert comparison.origin == "file:7"


def test_one_space_belongs_to_the_marker_and_the_rest_to_the_text():
    comparison = parse_comparison({"chosen": OVEN + "  two,\n\n- a list \n", "rejected": OVEN + "none"})

    assert comparison.responses == (" two,\n\n- a list \n", "none")


def test_a_marker_within_a_line_is_text():
    said = " I asked.  Human: and then?\nAssistant: well"
    comparison = parse_comparison({"chosen": OVEN + said, "rejected": OVEN + " -"})

    assert comparison.prompt == OVEN_PROMPT
    assert comparison.responses[0] == said[1:]


@pytest.mark.parametrize("ending", ["", " "])
def test_an_empty_response_is_a_response(ending):
    assert parse_comparison({"chosen": OVEN + " 230.", "rejected": OVEN + ending}).responses == ("230.", "")


def test_transcripts_that_diverge_early_share_only_the_common_turns():
    comparison = parse_comparison(
        {
            "chosen": "\n\nHuman: How hot for bread?\n\nAssistant: 230.\n\nHuman: Thanks.\n\nAssistant: Enjoy.",
            "rejected": "\n\nHuman: How hot for bread?\n\nAssistant: Hot.",
        }
    )

    assert comparison.prompt == BREAD
    assert comparison.responses == ("230.\n\nHuman: Thanks.\n\nAssistant: Enjoy.", "Hot.")


def test_transcripts_that_diverge_in_a_human_turn_go_back_to_the_human_turn_before():
    start = "\n\nHuman: How hot for bread?\n\nAssistant: For a loaf?\n\nHuman: "
    comparison = parse_comparison(
        {"chosen": start + "Rye.\n\nAssistant: 230.", "rejected": start + "No.\n\nAssistant: ?"}
    )

    assert comparison.prompt == BREAD
    assert comparison.responses == (
        "For a loaf?\n\nHuman: Rye.\n\nAssistant: 230.",
        "For a loaf?\n\nHuman: No.\n\nAssistant: ?",
    )


def test_an_assistant_that_speaks_twice_gives_one_response():
    start = "\n\nHuman: How hot for bread?\n\nAssistant: One moment.\n\nAssistant: "
    comparison = parse_comparison({"chosen": start + "230.", "rejected": start + "Hot."})

    assert comparison.prompt == BREAD
    assert comparison.responses == ("One moment.\n\nAssistant: 230.", "One moment.\n\nAssistant: Hot.")


def test_equal_transcripts_keep_their_last_turn_as_the_response():
    comparison = parse_comparison({"chosen": OVEN + " 230.", "rejected": OVEN + " 230."})

    assert (comparison.prompt, comparison.responses) == (OVEN_PROMPT, ("230.", "230."))


# --- messages and prompts ---------------------------------------------------------------------------------------------

BREAD_MESSAGES = [says("user", "How hot for bread?")]


@pytest.mark.parametrize(
    "record",
    [
        {"chosen": [*BREAD_MESSAGES, says("assistant", "230.")], "rejected": [*BREAD_MESSAGES, says("assistant", "")]},
        {"prompt": "How hot for bread?", "chosen": "230.", "rejected": ""},
        {"prompt": BREAD_MESSAGES, "chosen": "230.", "rejected": ""},
        {"prompt": BREAD_MESSAGES, "chosen": [says("assistant", "230.")], "rejected": [says("assistant", "")]},
        {
            "prompt": "How hot for bread?",
            "chosen": [*BREAD_MESSAGES, says("assistant", "230.")],
            "rejected": [*BREAD_MESSAGES, says("assistant", "")],
        },
        {"prompt": "\n\nHuman: How hot for bread?\n\nAssistant:", "chosen": "230.", "rejected": ""},
        {
            "prompt": "How hot for bread?",
            "chosen": "\n\nHuman: How hot for bread?\n\nAssistant: 230.",
            "rejected": "\n\nHuman: How hot for bread?\n\nAssistant:",
        },
        {"prompt": "How hot for bread?", "responses": ["230.", ""], "ranks": [1, 2]},
        {"prompt": None, "chosen": "\n\nHuman: How hot for bread?\n\nAssistant: 230.", "head": None}
        | {"rejected": "\n\nHuman: How hot for bread?\n\nAssistant:"},
        [{"text": "How hot for bread?", "role": "prompter"}]
        + [{"text": text, "role": "assistant"} for text in ("230.", "")],
    ],
    ids=str,
)
def test_every_form_states_the_same_comparison(record):
    comparison = parse_comparison(record)

    assert comparison.prompt == BREAD
    assert comparison.responses == ("230.", "")
    assert comparison.ranks == (1, 2)


def test_a_response_with_a_prompt_may_look_like_another_conversation():
    odd = "\n\nHuman: What of cake?\n\nAssistant: 180."
    assert parse_comparison({"prompt": "How hot for bread?", "chosen": "230.", "rejected": odd}).responses == (
        "230.",
        odd,
    )


@pytest.mark.parametrize("repeated", ["\n\nHuman: How hot for bread? ", "\n\nHuman: How hot for bread?"])
def test_a_transcript_that_does_not_repeat_its_prompt_gets_a_remark(repeated):
    texts = {"chosen": f"{repeated}\n\nAssistant: 230.", "rejected": f"{repeated}\n\nAssistant: Hot."}
    record = {"prompt": "\n\nHuman: How hot for bread?\n\nAssistant:", **texts}
    comparison, remark = parse_comparison(record), "transcript that does not repeat its prompt read as a response"

    same = not repeated.endswith(" ")
    assert comparison.responses == (("230.", "Hot.") if same else tuple(texts.values()))
    assert remarks(record) == (() if same else (remark, remark))
    assert remarks(record | {"rejected": "Hot."}) == (() if same else (remark,))


def test_system_messages_belong_to_the_prompt():
    start = [says("system", "Be brief."), *BREAD_MESSAGES]
    comparison = parse_comparison(
        {"chosen": [*start, says("assistant", "230.")], "rejected": [*start, says("assistant", "Hot.")]}
    )

    assert comparison.prompt == (Message("system", "Be brief."), *BREAD)


# --- judgements -------------------------------------------------------------------------------------------------------


def test_scores_give_the_ranks():
    comparison = parse_comparison({"prompt": "?", "responses": ["a", "b", "c"], "scores": [3, 5.5, 3]})

    assert comparison.scores == (3.0, 5.5, 3.0)
    assert comparison.ranks == (2, 1, 2)
    assert [pair.tied for pair in comparison.pairs] == [False, True, False]


def test_ranks_stay_as_given_and_may_come_with_scores_that_agree():
    record = {"prompt": "?", "responses": ["a", "b", "c"], "ranks": [2, 1, 2], "scores": [0, 1, 0]}
    assert parse_comparison(record).ranks == (2, 1, 2)


def test_what_is_said_about_a_pair():
    record = {"prompt": "?", "chosen": "a", "rejected": "b"}
    about = {"strength": "slightly_better", "margin": 2, "head": "safety", "subset": "recipes"}
    comparison = parse_comparison(record | about)

    assert comparison.strengths == ("slightly_better",)
    assert comparison.margins == (2.0,)
    assert (comparison.head, comparison.subset) == ("safety", "recipes")


@pytest.mark.parametrize(
    "record",
    [
        {"chosen": OVEN + " a", "rejected": OVEN + " b"},
        {"chosen": [*BREAD_MESSAGES, says("assistant", "a")], "rejected": [*BREAD_MESSAGES, says("assistant", "b")]},
        {"prompt": "?", "chosen": "a", "rejected": "b"},
        {"prompt": "?", "responses": ["a", "b"], "ranks": [1, 2]},
        {"prompt": "?", "responses": ["a", "b"], "scores": [1, 0]},
    ],
    ids=str,
)
def test_every_form_of_object_may_say_which_responses_are_unsafe(record):
    labelled = record | {"unsafe": [False, True]}
    comparison = parse_comparison(labelled)
    assert dict(zip(comparison.responses, comparison.unsafe, strict=True)) == {"a": False, "b": True}
    assert remarks(labelled) == ()
    assert parse_comparison(record).unsafe is None
    assert parse_comparison(record | {"unsafe": None}).unsafe is None
    assert parse_scoring(labelled)[1] == ("a", "b")


def test_what_is_said_about_three_pairs():
    comparison = parse_comparison(
        {
            "prompt": "?",
            "responses": ["a", "b", "c"],
            "ranks": [1, 2, 3],
            "margin": [0.5, 1, 0],
            "strength": ["better"] * 3,
        }
    )

    assert comparison.margins == (0.5, 1.0, 0.0)
    assert comparison.strengths == ("better",) * 3


def test_role_records_put_several_answers_after_a_conversation():
    roles = ["prompter", "assistant", "prompter", "assistant", "assistant", "assistant"]
    record = [{"text": str(i), "role": role} for i, role in enumerate(roles)]
    comparison = parse_comparison(record)

    assert comparison.prompt == (Message("user", "0"), Message("assistant", "1"), Message("user", "2"))
    assert comparison.responses == ("3", "4", "5")
    assert comparison.ranks == (1, 2, 3)


# --- what is refused --------------------------------------------------------------------------------------------------

ASKED = {"prompt": "?", "responses": ["a", "b"]}
PLAIN = {"prompt": "?", "chosen": "a", "rejected": "b"}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("text", "must be a JSON object or an array of turns, found text"),
        (True, "found true"),
        ({"question": "?", "answer": "!"}, "found the keys answer, question"),
        ({"chosen": "a", "rejected": "b"}, '"chosen" is plain text without a prompt'),
        ({"chosen": "Note.\n\nHuman: a\n\nAssistant: b", "rejected": OVEN}, '"chosen" is plain text without a prompt'),
        ({"chosen": OVEN}, '"rejected" is missing'),
        ({"chosen": OVEN, "rejected": OVEN + " b\n\nHuman: c"}, '"rejected" ends with a Human turn'),
        ({"chosen": BREAD_MESSAGES, "rejected": OVEN}, '"chosen" ends with a Human turn'),
        (
            {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: c\n\nAssistant: d"},
            "no opening user turn in common",
        ),
        (
            {"chosen": "\n\nHuman: a\n\nHuman: b\n\nAssistant: c", "rejected": "\n\nHuman: a\n\nAssistant: c"},
            "that the assistant answers in both",
        ),
        (
            {"rejected": "\n\nHuman: a\n\nHuman: b\n\nAssistant: c", "chosen": "\n\nHuman: a\n\nAssistant: c"},
            "that the assistant answers in both",
        ),
        ({"chosen": "\n\nAssistant: b", "rejected": "\n\nAssistant: d"}, "no opening user turn in common"),
        ({"chosen": [], "rejected": OVEN}, '"chosen" must be a list of at least one'),
        ({"chosen": ["a"], "rejected": OVEN}, 'every message of "chosen" must be {"role", "content"}, found text'),
        ({"chosen": [says("tool", "a")], "rejected": OVEN}, "found 'tool'"),
        ({"chosen": [says("user", None)], "rejected": OVEN}, '"chosen.content" must be text, found null'),
        ({"chosen": 3, "rejected": OVEN}, '"chosen" must be text, found the number 3'),
        (PLAIN | {"chosen": [says("user", "a")]}, "continues the prompt with a user turn"),
        (PLAIN | {"prompt": 3}, '"prompt" must be text, found the number 3'),
        (PLAIN | {"prompt": [says("assistant", "a")]}, "must end with a user turn"),
        (PLAIN | {"responses": ["a"]}, 'both "chosen" and "responses"'),
        (PLAIN | {"rejected": "\ud83d"}, "half of a surrogate pair"),
        (PLAIN | {"strength": "much"}, "strength must be one of"),
        (PLAIN | {"strength": 3}, '"strength" must be text'),
        (PLAIN | {"margin": -1}, "margin must be a finite number >= 0"),
        (PLAIN | {"margin": float("nan")}, '"margin" must hold finite numbers, found the number nan'),
        (PLAIN | {"margin": True}, '"margin" must hold finite numbers, found true'),
        (PLAIN | {"margin": "1"}, '"margin" must hold finite numbers, found text'),
        (PLAIN | {"margin": [1, 2]}, "margin has 2 entries for the 1 pairs"),
        (PLAIN | {"margin": 10**400}, '"margin" must hold finite numbers'),
        (PLAIN | {"unsafe": True}, '"unsafe" must be a list, found true'),
        (PLAIN | {"unsafe": [True, 0]}, '"unsafe" must hold true or false, found the number 0'),
        (PLAIN | {"unsafe": ["true", "false"]}, '"unsafe" must hold true or false, found text'),
        (PLAIN | {"unsafe": [True, None]}, '"unsafe" must hold true or false, found null'),
        (PLAIN | {"unsafe": [True]}, "unsafe has 1 entries for 2 responses"),
        (ASKED | {"scores": [1, 2], "unsafe": [False] * 3}, "unsafe has 3 entries for 2 responses"),
        (PLAIN | {"head": ""}, '"head" is an empty string'),
        (PLAIN | {"subset": 3}, '"subset" must be text'),
        ({"responses": ["a", "b"], "ranks": [1, 2]}, '"prompt" is missing'),
        (ASKED, "found neither"),
        (ASKED | {"responses": "ab", "ranks": [1, 2]}, '"responses" must be a list, found text'),
        (ASKED | {"responses": ["a"], "ranks": [1]}, "at least two responses, found 1"),
        (ASKED | {"responses": ["a", 3], "ranks": [1, 2]}, '"responses" must be text, found the number 3'),
        (ASKED | {"ranks": [1]}, "ranks has 1 entries for 2 responses"),
        (ASKED | {"ranks": [0, 1]}, "whole numbers from 1"),
        (ASKED | {"ranks": [True, 2]}, '"ranks" must hold whole numbers, found true'),
        (ASKED | {"ranks": [1.5, 2]}, '"ranks" must hold whole numbers, found the number 1.5'),
        (ASKED | {"ranks": 1}, '"ranks" must be a list, found the number 1'),
        (ASKED | {"scores": [1, None]}, '"scores" must hold finite numbers, found null'),
        (ASKED | {"scores": [1, float("inf")]}, '"scores" must hold finite numbers'),
        (ASKED | {"scores": [1, False]}, '"scores" must hold finite numbers, found false'),
        (ASKED | {"scores": [1, 2], "ranks": [1, 2]}, "order the responses differently"),
        ([], "the prompter's turns first"),
        ([{"text": "a", "role": "prompter"}], "the prompter's turns first"),
        ([{"text": "a", "role": "assistant"}], "the prompter's turns first"),
        ([{"text": "a", "role": "prompter"}, {"text": "b", "role": "assistant"}], "at least two responses, found 1"),
        ([{"text": "a", "role": "user"}], 'found {"text": "a", "role": "user"}'),
        ([{"text": "a", "role": ["prompter"]}], 'found {"text": "a", "role": ["prompter"]}'),
        (["a"], "every entry of an array record"),
    ],
)
def test_a_record_that_is_refused(record, message):
    with pytest.raises(InputError) as refusal:
        parse_comparison(record, "data.jsonl:3")

    assert str(refusal.value).startswith("data.jsonl:3: ")
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


# --- demonstrations and texts to score --------------------------------------------------------------------------------


def test_a_conversation_gives_a_demonstration_per_answer():
    turns = [says("user", "a"), says("assistant", "b"), says("user", "c"), says("assistant", "d"), says("user", "e")]
    first, second = parse_demonstrations({"messages": turns}, "file:1")

    assert (first.prompt, first.response) == ((Message("user", "a"),), "b")
    assert second.prompt == (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    assert (second.response, second.origin) == ("d", "file:1")


def test_demonstrations_of_the_other_forms():
    assert [d.response for d in parse_demonstrations({"prompt": "?", "response": "!"})] == ["!"]
    assert [d.response for d in parse_demonstrations(PLAIN)] == ["a"]
    ranked = {"prompt": "?", "responses": ["a", "b", "c"], "scores": [2, 1, 2]}
    assert [d.response for d in parse_demonstrations(ranked)] == ["a", "c"]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"messages": [says("user", "a")]}, "no assistant turn"),
        ({"messages": [says("assistant", "a")]}, "the prompt is empty"),
        ({"prompt": "?", "response": 3}, '"response" must be text'),
        ({"prompt": "?"}, "found the keys prompt"),
        (PLAIN | {"strength": "much"}, "strength must be one of"),
        (3, "found the number 3"),
    ],
)
def test_a_demonstration_that_is_refused(record, message):
    with pytest.raises(InputError, match=message) as refusal:
        parse_demonstrations(record, "in.jsonl:2")
    assert str(refusal.value).count("in.jsonl:2: ") == 1


@pytest.mark.parametrize(
    ("record", "responses"),
    [
        ({"prompt": "?", "response": "a"}, ("a",)),
        ({"prompt": "?", "responses": ["a", "b", ""]}, ("a", "b", "")),
        ({"prompt": "?", "response": "\n\nHuman: ?\n\nAssistant: a"}, ("a",)),
        ({"prompt": "?", "responses": ["a", [says("user", "?"), says("assistant", "b")]]}, ("a", "b")),
        ({"messages": [says("user", "?"), says("assistant", "a")]}, ("a",)),
        (PLAIN, ("a", "b")),
        (ASKED | {"ranks": [2, 1]}, ("a", "b")),
        ([{"text": "?", "role": "prompter"}, {"text": "a", "role": "assistant"}], ("a",)),
    ],
)
def test_texts_to_score(record, responses):
    assert parse_scoring(record) == ((Message("user", "?"),), responses)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"prompt": "?"}, "a record to score is"),
        ({"prompt": "?", "responses": []}, "nothing to score"),
        ({"prompt": [says("assistant", "a")], "response": "b"}, "must end with a user turn"),
        ({"response": "b"}, '"prompt" is missing'),
        ({"messages": [says("user", "?")]}, '"messages" ends with a Human turn'),
    ],
)
def test_a_record_that_cannot_be_scored(record, message):
    with pytest.raises(InputError, match=message) as refusal:
        parse_scoring(record, "in.jsonl:2")
    assert str(refusal.value).startswith("in.jsonl:2: ")


def test_remarks_name_what_was_passed_over():
    assert remarks(PLAIN | {"id": 7, "head": "safety", "ranks": None}) == ('key "id" not read',)
    assert remarks({"prompt": "?", "response": "!", "chosen": None, "source": "x"}) == ('key "source" not read',)
    assert remarks([]) == ()


def test_a_boolean_response_is_text_with_a_remark():
    record = PLAIN | {"chosen": True}
    assert parse_comparison(record).responses == ("true", "b")
    assert remarks(record) == ("boolean read as text",)
    with pytest.raises(InputError, match='"chosen" must be text, found true'):
        parse_comparison({"chosen": True, "rejected": OVEN})


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "Why?"},
        {"prompt": [{"role": "user", "content": "Why?"}]},
        {"messages": [{"role": "user", "content": "Why?"}]},
        {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]},
        {"prompt": "Why?", "response": "So."},
        {"prompt": "Why?", "responses": []},
        {"prompt": "Why?", "chosen": "So.", "rejected": "No."},
    ],
)
def test_a_prompt_is_read_from_every_form_of_record(record):
    assert parse_prompt(record) == (Message("user", "Why?"),)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"text": "Why?"}, r"f:3: a prompt is \{\"prompt\"\} or .*; found the keys text"),
        ({"prompt": [{"role": "assistant", "content": "So."}]}, "must end with a user turn"),
        ({"prompt": 3}, "prompt"),
        ("Why?", "must be a JSON object"),
    ],
)
def test_a_record_without_a_prompt_is_refused(record, message):
    with pytest.raises(InputError, match=message):
        parse_prompt(record, "f:3")
