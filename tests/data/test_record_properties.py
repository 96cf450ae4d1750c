"""Properties of records that hypothesis draws: accepted or refused with an InputError, never another exception."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rmjax.data.comparisons import Comparison
from rmjax.data.records import parse_comparison, parse_demonstrations, parse_prompt, parse_scoring, remarks
from rmjax.errors import InputError

FEW = settings(
    max_examples=100, derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
PARSERS = (parse_comparison, parse_demonstrations, parse_prompt, parse_scoring)

# Texts that a parser might take for structure: transcripts, roles, and characters that no encoder accepts.
TEXTS = st.sampled_from(["", "a", "\n\nHuman: hi\n\nAssistant: yes", "user", "assistant", "prompter", "\ud800", "\0"])
NUMBERS = st.integers(-2, 10**400) | st.floats() | st.booleans() | st.none()
MESSAGES = st.dictionaries(st.sampled_from(["role", "content", "text", "type"]), TEXTS | NUMBERS, max_size=4)
PARTS = TEXTS | NUMBERS | MESSAGES
VALUES = st.recursive(PARTS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=3))
KEYS = ["prompt", "chosen", "rejected", "responses", "response", "messages", "ranks", "scores", "strength", "margin"]
KEYS += ["unsafe", "head", "subset", "chosn", "completions", "helpfulness", "turns", "answers"]
RECORDS = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6) | st.lists(MESSAGES, max_size=4) | VALUES


@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__name__)
@FEW
@given(RECORDS)
def test_any_record_is_accepted_or_refused_in_one_line(parse, record):
    try:
        parse(record, "file:7")
    except InputError as error:
        message = str(error)
    else:
        message = "file:7: "
        assert all(isinstance(remark, str) for remark in remarks(record))
    assert message.startswith("file:7: ")
    assert "\n" not in message


@st.composite
def ranked(draw):
    """A record of K responses with scores, and its scores."""
    scores = draw(st.lists(st.integers(-5, 5), min_size=2, max_size=6))
    return {"prompt": "Why?", "responses": [f"answer {i}" for i in range(len(scores))], "scores": scores}, scores


@FEW
@given(ranked())
def test_ranks_have_the_order_of_the_scores(drawn):
    record, scores = drawn
    found = parse_comparison(record)
    assert isinstance(found, Comparison)
    for i, first in enumerate(scores):
        for j, second in enumerate(scores):
            assert (found.ranks[i] < found.ranks[j]) == (first > second)
