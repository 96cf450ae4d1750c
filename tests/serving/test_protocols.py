"""The forms of other programs against `RewardModel.score`, and rendered conversations against their chat templates."""

import numpy as np
import pytest
from data.chat_templates import CHATS, chat_tokenizer
from running_server import running, send
from scipy.special import expit

from rmjax.data.comparisons import Message
from rmjax.data.tokenizer import Tokenizer
from rmjax.errors import InputError
from rmjax.serving.rendered import RenderedReader

PROMPT, ANSWERS = "What is the capital of France?", ["Paris.", "I will not help.", ""]
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="module")
def ask(reward_model, tokenizer):
    with running(reward_model, tokenizer) as (_, port):
        yield lambda path, body: send(port, path, body)[:2]


@pytest.fixture(scope="module")
def expected(reward_model):
    return reward_model.score(PROMPT, ANSWERS, head="helpful")


def rendered(tokenizer, answer, **how):
    turns = [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": answer}]
    return tokenizer.hf.apply_chat_template(turns if answer is not None else turns[:1], tokenize=False, **how)


@pytest.mark.parametrize("form", ["rendered", "plain", "transcript", "alone"])
def test_openrlhf(ask, expected, reward_model, tokenizer, form):
    transcript = f"\n\nHuman: {PROMPT}\n\nAssistant:"
    prompt = {
        "rendered": rendered(tokenizer, None, add_generation_prompt=True),
        "plain": PROMPT,
        "transcript": transcript,
        "alone": transcript,
    }[form]
    space = " " if prompt == transcript else ""
    queries = [rendered(tokenizer, a) if form == "rendered" else f"{prompt}{space}{a}" for a in ANSWERS]
    body = {"query": queries, "prompts": [prompt] * 3, "labels": [None] * 3}
    if form == "alone":
        del body["prompts"]
    status, answer = ask("/get_reward", body)
    assert status == 200
    np.testing.assert_allclose(answer["rewards"], expected, **CLOSE)
    assert answer["scores"] == answer["rewards"] == answer["extra_logs"]["helpful"]
    safety = reward_model.score(PROMPT, ANSWERS, head="safety")
    np.testing.assert_allclose(answer["extra_logs"]["safety"], safety, **CLOSE)


def test_an_end_of_text_of_the_policy_is_no_part_of_the_response(ask, expected, tokenizer):
    queries = [PROMPT + answer + tokenizer.hf.eos_token for answer in ANSWERS]
    answer = ask("/get_reward", {"query": queries, "prompts": [PROMPT] * 3})[1]
    np.testing.assert_allclose(answer["rewards"], expected, **CLOSE)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"query": "text"}, '"query" must be a list'),
        ({"query": []}, "at least 1"),
        ({"query": ["a", "b"], "prompts": ["a"]}, '2 texts and "prompts" 1'),
        ({"query": ["b"], "prompts": ["a"]}, "text 1: the query does not begin with its prompt"),
        ({"query": ["b"]}, "text 1: neither rendered by the chat template nor a transcript"),
        ({"query": ["<|user|>b"]}, "text 1: the chat template of the tokenizer does not give this text"),
    ],
)
def test_a_wrong_query_is_an_error(ask, body, message):
    status, answer = ask("/get_reward", body)
    assert status == 400
    assert message in answer["error"]


@pytest.mark.parametrize(("path", "key"), [("/classify", "probs"), ("/pooling", "data")])
def test_vllm(ask, expected, tokenizer, path, key):
    texts = [rendered(tokenizer, answer) for answer in ANSWERS]
    raw = ask(path, {"model": "tiny", "input": texts, "use_activation": False})[1]
    np.testing.assert_allclose([entry[key] for entry in raw["data"]], expected[:, None], **CLOSE)
    assert [entry["index"] for entry in raw["data"]] == [0, 1, 2]
    assert (raw["object"], raw["model"]) == ("list", "tiny")
    activated = ask(path, {"input": texts[0]})[1]["data"][0]
    np.testing.assert_allclose(activated[key], [expit(expected[0])], **CLOSE)
    messages = [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": ANSWERS[1]}]
    chat = ask(path, {"messages": messages, "use_activation": False})[1]
    np.testing.assert_allclose(chat["data"][0][key], [expected[1]], **CLOSE)
    for wrong in ({"model": "other", "input": texts}, {}, {"input": [1, 2]}, {"input": []}, {"input": "plain"}):
        assert ask(path, wrong)[0] == 400


def test_scores_of_beginnings(ask, reward_model):
    response = "Paris, of course: é"
    found = ask("/prefixes", {"prompt": PROMPT, "response": response})[1]
    assert "".join(found["pieces"]) == response
    assert len(found["pieces"]) > 3
    texts = ["".join(found["pieces"][:count]) for count in range(len(found["pieces"]) + 1)]
    for head in reward_model.heads:
        np.testing.assert_allclose(found["scores"][head], reward_model.score(PROMPT, texts, head=head), **CLOSE)


def test_records_in_every_form_and_on_every_scale(ask, reward_model, expected):
    records = [
        {"prompt": PROMPT, "responses": ANSWERS},
        {"prompt": PROMPT, "chosen": ANSWERS[0], "rejected": ANSWERS[1]},
        {"messages": [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": ANSWERS[1]}]},
    ]
    for scale in ("raw", "normalized", "probability"):
        answer = ask("/score", {"records": records, "scale": scale})[1]
        stated = [result["scores"]["helpful"] for result in answer["results"]]
        scores = reward_model.score(PROMPT, ANSWERS, scale=scale, head="helpful")
        for found, wanted in zip(stated, (scores, scores[:2], scores[1:2]), strict=True):
            np.testing.assert_allclose(found, wanted, **CLOSE)


@pytest.mark.parametrize("name", [name for name in CHATS if "strftime_now" not in CHATS[name][0]])
def test_conversations_of_published_templates_are_read_back(name):
    hf = chat_tokenizer(name)
    reader = RenderedReader(Tokenizer(chat_tokenizer(name), max_prompt=64, max_response=32))
    conversations = [
        (Message("user", "Why?"),),
        (Message("user", "Why?"), Message("assistant", "No."), Message("user", "Why not?")),
    ]
    if CHATS[name].takes_system:
        conversations.append((Message("system", "Be brief."), Message("user", "Why?")))
    for prompt in conversations:
        text = hf.apply_chat_template(
            [m._asdict() for m in (*prompt, Message("assistant", "Because.\nOf it."))], tokenize=False
        )
        if prompt[0].content not in text:  # the template leaves a system turn out
            continue
        assert reader.begins(text)
        assert reader.split(text, "here") == (prompt, "Because.\nOf it.")
        with pytest.raises(InputError, match="here: the chat template"):
            reader.split(text.replace("Why", "", 1)[: len(text) // 4], "here")
