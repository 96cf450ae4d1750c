"""Bodies of requests -> texts to score, and scores -> answers: rmjax's own form, OpenRLHF's and vLLM's.

OpenRLHF posts `{"query": [...], "prompts": [...], "labels": [...]}` to its `--remote_rm_url` and reads `rewards`,
`scores` and `extra_logs` (`openrlhf/cli/serve_rm.py`, `openrlhf/utils/agent.py`). A query is the prompt and the
response, as the policy's tokenizer writes them.

vLLM's `/classify` takes `{"input": text or list}` or `{"messages": [...]}` and gives `probs` for each text; `/pooling`
takes the same and gives `data` (https://docs.vllm.ai/en/latest/models/pooling_models/). With `use_activation` (the
default) the numbers are sigmoids, without it they are raw scores. Our answers have no `usage`.
"""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from rmjax.data import conversations, values
from rmjax.data.comparisons import Prompt
from rmjax.data.reading import DEFAULT, Reading, misspelled
from rmjax.data.records import parse_scoring
from rmjax.errors import InputError
from rmjax.scoring.reward_function import Scored, as_prompt, sigmoid
from rmjax.serving.prefixes import beginnings
from rmjax.serving.served import Served


class Task(NamedTuple):
    """The texts of a request, and the function from their scores to the answer."""

    prompts: Sequence[Prompt]
    responses: Sequence[Sequence[str]]
    answer: Callable[[Scored], dict[str, Any]]


Protocol = Callable[[dict[str, Any], Served], Task]


def score(body: dict[str, Any], served: Served) -> Task:
    """`POST /score`: a record, or `{"records": [...]}`, in the forms of experiments/score.py; also `"scale"`.

    The answer has for every record `scores`, a list for every head, and `cut_tokens`, [prompt, response] for each
    response.

    Raises:
        InputError: as `parse_scoring`, or another scale.
    """
    options = {"scale", "records"}
    for key in body:
        if nearest := misspelled(key, options, set(body)):
            raise InputError(f'the key "{key}" is not known: did you mean "{nearest}"?')
    scale = values.text(body.get("scale", "raw"), "scale")
    for head in served.model.heads:
        served.model.rescale(np.zeros(0, np.float32), scale, head)
    records = body.get("records", [{key: value for key, value in body.items() if key != "scale"}])
    if "records" in body and (not isinstance(records, list) or not records or body.keys() - options):
        raise InputError('"records" must be a list of at least one record, and only "scale" may be next to it')
    names = [f"record {number}" for number in range(1, len(records) + 1)] if "records" in body else [""]
    parsed = [parse_scoring(record, name, DEFAULT) for record, name in zip(records, names, strict=True)]

    def answer(scored: Scored) -> dict[str, Any]:
        results = [
            {"scores": by_head(served, scores_KxZ, scale), "cut_tokens": cut_Kx2.tolist()}
            for scores_KxZ, cut_Kx2 in zip(*scored, strict=True)
        ]
        return {"model": served.name, "scale": scale, "results": results}

    return Task([prompt for prompt, _ in parsed], [texts for _, texts in parsed], answer)


def prefixes(body: dict[str, Any], served: Served) -> Task:
    """`POST /prefixes`: `{"prompt", "response"}`; the answer has the pieces of the response and the score after each.

    Scores are raw. The first score is that of the empty response, or null if that has no score.

    Raises:
        InputError: as `parse_scoring`, or several responses.
    """
    prompt, responses = parse_scoring(body, "", DEFAULT)
    if len(responses) > 1:
        raise InputError(f"the scores of beginnings are those of one response, found {len(responses)}")
    texts = beginnings(served.tokenizer, responses[0])
    none: list[float | None] = [] if texts[0] == "" else [None]
    pieces = [text[len(before) :] for before, text in itertools.pairwise(["", *texts] if none else texts)]

    def answer(scored: Scored) -> dict[str, Any]:
        scores = by_head(served, scored.raw[0], "raw")
        return {"pieces": pieces, "scores": {head: none + each for head, each in scores.items()}}

    return Task([prompt], [texts], answer)


def openrlhf(body: dict[str, Any], served: Served) -> Task:
    """`POST /get_reward`: OpenRLHF's remote reward.

    A query is a conversation that the chat template has rendered, or begins with its prompt, which is plain text.

    Raises:
        InputError: the lists have different lengths, or a query is neither.
    """
    queries = values.each(values.text, body.get("query"), "query")
    prompts = body.get("prompts")
    given = values.each(values.text, prompts, "prompts") if prompts is not None else (None,) * len(queries)
    if len(given) != len(queries) or not queries:
        raise InputError(
            f'"query" has {len(queries)} texts and "prompts" {len(given)}: they must be as many, at least 1'
        )
    parsed = [_query(text, prompt, i, served) for i, (text, prompt) in enumerate(zip(queries, given, strict=True))]

    def answer(scored: Scored) -> dict[str, Any]:
        raw_NxZ = np.concatenate(scored.raw)
        rewards = served.model.rescale(raw_NxZ[:, served.column], served.scale, served.head).tolist()
        cut_Nx2 = np.concatenate(scored.cut)
        logs = {**by_head(served, raw_NxZ, "raw"), "cut_tokens": cut_Nx2.sum(axis=1).tolist()}
        return {"rewards": rewards, "scores": rewards, "extra_logs": logs}

    return Task([prompt for prompt, _ in parsed], [[text] for _, text in parsed], answer)


def vllm_classify(body: dict[str, Any], served: Served) -> Task:
    """`POST /classify`: vLLM's classification, with one class, the head.

    Raises:
        InputError: as `_vllm`.
    """

    def entry(number: int, score: float) -> dict[str, Any]:
        return {"index": number, "label": served.head, "probs": [score], "num_classes": 1}

    return _vllm(body, served, "classify", entry)


def vllm_pooling(body: dict[str, Any], served: Served) -> Task:
    """`POST /pooling`: vLLM's pooling of a reward model.

    Raises:
        InputError: as `_vllm`.
    """

    def entry(number: int, score: float) -> dict[str, Any]:
        return {"index": number, "object": "pooling", "data": [score]}

    return _vllm(body, served, "pool", entry)


def by_head(served: Served, raw_KxZ: np.ndarray, scale: str) -> dict[str, list[float]]:
    """Returns the scores of K responses on a scale, a list for every head."""
    model = served.model
    return {head: model.rescale(raw_KxZ[:, z], scale, head).tolist() for z, head in enumerate(model.heads)}


def _vllm(body: dict[str, Any], served: Served, kind: str, entry: Callable[[int, float], dict[str, Any]]) -> Task:
    """Returns the task of a request of vLLM.

    Raises:
        InputError: another model is named, there is neither `input` nor `messages`, the input is token ids, or a text
            is no conversation.
    """
    model = body.get("model")
    if model is not None and model != served.name:
        raise InputError(f"the model {str(model)[:80]!r} is not served here: it is {served.name!r}")
    activated = values.boolean(body["use_activation"], "use_activation") if "use_activation" in body else True
    if ("input" in body) == ("messages" in body):
        raise InputError('give either "input", a text or a list of texts, or "messages"')
    if "messages" in body:
        prompt, responses = parse_scoring({"messages": body["messages"]}, "", Reading())
        parsed = [(prompt, responses[0])]
    else:
        given = body["input"]
        texts = values.each(values.text, [given] if isinstance(given, str) else given, "input")
        if not texts:
            raise InputError('"input" is empty: nothing to score')
        parsed = [_query(text, None, i, served) for i, text in enumerate(texts)]

    def answer(scored: Scored) -> dict[str, Any]:
        raw_N = np.concatenate(scored.raw)[:, served.column]
        scores = (sigmoid(raw_N) if activated else raw_N).tolist()
        return {
            "id": f"{kind}-{uuid.uuid4().hex}",
            "object": "list",
            "created": int(time.time()),
            "model": served.name,
            "data": [entry(number, score) for number, score in enumerate(scores)],
        }

    return Task([prompt for prompt, _ in parsed], [[text] for _, text in parsed], answer)


def _query(text: str, prompt: str | None, number: int, served: Served) -> tuple[Prompt, str]:
    """Returns the prompt and the response of a text: rendered, a transcript, or beginning with its prompt."""
    where, reader = f"text {number + 1}", served.rendered
    if reader.begins(text):
        return reader.split(text, where)
    if prompt is not None:
        if not text.startswith(prompt):
            raise InputError(f"{where}: the query does not begin with its prompt")
        answer = reader.without_ending(text[len(prompt) :])
        # One space after the marker of a transcript belongs to the marker.
        return as_prompt(prompt), answer.removeprefix(" ") if prompt.endswith("\n\nAssistant:") else answer
    turns = conversations.conversation_or_none(text, "input")
    if turns is None:
        raise InputError(
            f"{where}: neither rendered by the chat template nor a transcript, so its prompt is not known: send "
            "messages, or name the tokenizer of the policy with --policy"
        )
    asked, response = conversations.split_answer(turns, "input")
    return asked, reader.without_ending(response)
