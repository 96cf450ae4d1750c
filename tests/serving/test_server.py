"""A running server with real clients: load, limits, errors, the token, and its end."""

import asyncio
import contextlib
import http.client
import json
import random
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import numpy as np
import pytest
from running_server import Held, running, send, wait_for

from rmjax.errors import InputError
from rmjax.serving.web import Address

QUESTIONS = ["How do I boil an egg?", "What is the capital of France?", "Why?"]
CLOSE = {"rtol": 1e-5, "atol": 1e-5}  # packing changes the rounding of float32


@pytest.fixture(scope="module")
def port(reward_model, tokenizer):
    with running(reward_model, tokenizer) as (_, port):
        yield port


@pytest.fixture
def held():
    model = Held()
    yield model
    model.released.set()


def test_many_clients_get_their_own_scores_in_their_order(port, reward_model):
    rng = random.Random(0)
    words = ["Paris", "egg", "boil", "help", "water", "minutes", "of", "course", "not", "seven", "the"]
    requests = [
        {"prompt": rng.choice(QUESTIONS), "responses": [" ".join(rng.choices(words, k=3)) for _ in range(1 + i % 7)]}
        for i in range(96)
    ]

    async def ask():
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            return await asyncio.gather(*(client.post("/score", json=request) for request in requests))

    answers = asyncio.run(ask())
    assert [answer.status_code for answer in answers] == [200] * 96
    for request, answer in zip(requests, answers, strict=True):
        (result,) = answer.json()["results"]
        for head in reward_model.heads:
            expected = reward_model.score(request["prompt"], request["responses"], head=head)
            np.testing.assert_allclose(result["scores"][head], expected, **CLOSE)
    text = send(port, "/metrics")[1]
    assert f'rmjax_requests_total{{path="/score",status="200"}} {96.0}' in text
    assert f"rmjax_texts_total {sum(len(request['responses']) for request in requests):.1f}" in text


def test_requests_that_wait_share_a_batch_and_a_refused_one_fails_alone(held):
    with running(held) as (_, port), ThreadPoolExecutor(8) as pool:
        first = pool.submit(send, port, "/score", {"prompt": "?", "response": "first"})
        wait_for(lambda: held.batches)
        bodies = [{"prompt": "?", "response": text} for text in ("a", "refused", "bb", "nan", "ccc")]
        others = [pool.submit(send, port, "/score", body) for body in bodies]
        wait_for(lambda: "rmjax_waiting_requests 5.0" in send(port, "/metrics")[1])
        held.released.set()
        assert first.result()[1]["results"][0]["scores"] == {"length": [5]}
        answers = [other.result()[:2] for other in others]
    assert [status for status, _ in answers] == [200, 400, 200, 500, 200]
    assert [a["results"][0]["scores"]["length"] for status, a in answers if status == 200] == [[1], [2], [3]]
    assert answers[1][1] == {"error": "the model refuses this text"}
    assert answers[3][1] == {"error": "the model gave a score that is not a finite number"}
    assert sorted(held.batches[1]) == ["a", "bb", "ccc", "nan", "refused"]


def test_a_full_queue_and_a_large_request_are_refused_and_none_is_lost(held):
    with running(held, waiting_tokens=40) as (_, port), ThreadPoolExecutor(2) as pool:
        first = pool.submit(send, port, "/score", {"prompt": "?", "response": "first"})
        wait_for(lambda: held.batches)
        second = pool.submit(send, port, "/score", {"prompt": "?", "response": "b" * 100})
        wait_for(lambda: "rmjax_waiting_requests 1.0" in send(port, "/metrics")[1])
        status, answer, headers = send(port, "/score", {"prompt": "?", "response": "c" * 100})
        assert (status, headers["Retry-After"]) == (429, "1")
        assert answer["error"].endswith("are waiting: try again later")
        status, answer, _ = send(port, "/score", {"prompt": "?", "response": "d" * 200})
        assert (status, answer["error"]) == (
            400,
            "the request has about 52 tokens, more than the queue of 40: divide it",
        )
        held.released.set()
        assert [each.result()[0] for each in (first, second)] == [200, 200]
        assert send(port, "/score", {"prompt": "?", "response": "c" * 100})[0] == 200


def test_a_body_is_bounded_with_and_without_its_length(held):
    held.released.set()
    with running(held, body_bytes=200) as (_, port):
        assert send(port, "/score", {"prompt": "?", "response": "a" * 100})[0] == 200
        status, answer, _ = send(port, "/score", {"prompt": "?", "response": "a" * 300})
        assert (status, answer) == (413, {"error": "the body has more than 200 bytes: divide the request"})
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        parts = (b"a" * 50 for _ in range(10))
        connection.request("POST", "/score", parts, {"Content-Type": "application/json"}, encode_chunked=True)
        assert connection.getresponse().status == 413
        connection.close()


def test_a_slow_body_and_a_slow_model_have_a_limit_of_time(held):
    with running(held, seconds=1) as (_, port):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as slow:
            header = (
                "POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n"
            )
            slow.sendall(f"{header}\r\n{{".encode())
            assert slow.recv(4096).startswith(b"HTTP/1.1 408 ")
        status, answer, _ = send(port, "/score", {"prompt": "?", "response": "a"})
        assert (status, answer) == (504, {"error": "no scores after 1 seconds: try again later"})
        held.released.set()
        assert send(port, "/score", {"prompt": "?", "response": "a"})[0] == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not a JSON record"),
        (b"{", "not a JSON record"),
        (b"\xff", "not UTF-8 text (byte 1)"),
        (b"[]", "must be a JSON object"),
        (b'{"prompt": NaN}', "NaN is not a JSON number"),
        (b'{"prompt": "a", "prompt": "b"}', "occurs twice"),
        (b"[" * 100_000, "not a JSON record"),
        (b'{"prompt": "\\ud83d", "response": "a"}', "surrogate"),
        ({}, "a record to score is"),
        ({"prompt": "?"}, "a record to score is"),
        ({"prompt": "?", "responses": []}, "nothing to score"),
        ({"prompt": 3, "response": "a"}, '"prompt" must be text'),
        ({"prompt": "?", "response": "a", "scale": "rwa"}, "unknown scale"),
        ({"prompt": "?", "response": "a", "sclae": "raw"}, 'did you mean "scale"'),
        ({"records": [], "scale": "raw"}, '"records" must be a list'),
        ({"records": [{"prompt": "?", "response": "a"}, {}]}, "record 2: a record to score is"),
        ({"records": [{"prompt": "?", "response": "a"}], "prompt": "?"}, 'only "scale" may be next to it'),
    ],
)
def test_a_malformed_body_is_one_sentence(port, body, message):
    status, answer, _ = send(port, "/score", body)
    assert (status, list(answer)) == (400, ["error"])
    assert message in answer["error"]
    assert "\n" not in answer["error"]


def test_other_types_paths_methods_and_hosts_are_refused(port):
    body = {"prompt": "?", "response": "a"}
    assert send(port, "/score", body, {"Content-Type": "text/plain"})[0] == 415
    assert send(port, "/scores", body)[:2] == (404, {"error": "POST /scores: not found"})
    assert send(port, "/score")[:2] == (405, {"error": "GET /score: method not allowed"})
    assert send(port, "/health", headers={"Host": "attacker.example"})[0] == 400
    assert send(port, "/health", headers={"Host": f"localhost:{port}"})[0] == 200


def test_a_token_is_needed_where_others_can_connect(held):
    held.released.set()
    for wrong in (Address, lambda **fields: Address(**fields, token="short")):
        with pytest.raises(InputError, match="RMJAX_TOKEN"):
            wrong(host="0.0.0.0")
    secret = "s" * 16
    with running(held, address=Address("0.0.0.0", 0, secret)) as (_, port):
        body = {"prompt": "?", "response": "a"}
        assert send(port, "/health")[0] == 200
        for path in ("/score", "/metrics", "/v1/models"):
            content = body if path == "/score" else None
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": secret}):
                assert send(port, path, content, headers)[0] == 401
            assert send(port, path, content, {"Authorization": f"Bearer {secret}"})[0] == 200


def test_requests_in_progress_are_answered_when_the_server_ends(held):
    with running(held) as (server, port), ThreadPoolExecutor(2) as pool:
        first = pool.submit(send, port, "/score", {"prompt": "?", "response": "first"})
        wait_for(lambda: held.batches)
        second = pool.submit(send, port, "/score", {"prompt": "?", "response": "second one"})
        wait_for(lambda: "rmjax_waiting_requests 1.0" in send(port, "/metrics")[1])
        server.should_exit = True
        with contextlib.suppress(ConnectionError, http.client.HTTPException):
            while True:  # until no further connection is accepted
                send(port, "/health")
                time.sleep(0.02)
        held.released.set()
        answers = [each.result() for each in (first, second)]
    assert [answer["results"][0]["scores"]["length"] for _, answer, _ in answers] == [[5], [10]]


def test_a_busy_port_is_an_error():
    with Address(port=0).bind() as taken, pytest.raises(InputError, match="choose another port"):
        Address(port=taken.getsockname()[1]).bind()


def test_the_page_runs_only_its_own_script(port):
    status, text, headers = send(port, "/")
    assert status == 200
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert "http" not in text.replace("http-equiv", "")
    script = send(port, "/page.js")[1]
    assert "innerHTML" not in script
    assert json.dumps(send(port, "/v1/models")[1]["data"][0]["heads"]) == '["helpful", "safety"]'
