"""A server in a thread, a model that tests can stop, and requests of a client."""

import contextlib
import http.client
import json
import threading
import time

import numpy as np

from rmjax.errors import InputError
from rmjax.scoring.link import NO_ODDS
from rmjax.scoring.reward_function import RewardFunction, Scored
from rmjax.serving.app import ServerLimits, make_app
from rmjax.serving.served import Served
from rmjax.serving.web import Address, make_server


class Held(RewardFunction):
    """A judge whose score is the length of a text; it waits until it is released, and refuses the text "refused"."""

    heads = ("length",)
    link = NO_ODDS

    def __init__(self):
        self.released, self.batches = threading.Event(), []

    def score_groups(self, prompts, responses):
        self.batches.append([text for group in responses for text in group])
        assert self.released.wait(20)
        if any(text == "refused" for group in responses for text in group):
            raise InputError("the model refuses this text")
        raw = [
            np.array([[np.nan if text == "nan" else len(text)] for text in group], np.float32) for group in responses
        ]
        return Scored(raw, [np.zeros((len(group), 2), int) for group in responses])

    def rescale(self, raw, scale, head):
        return raw


@contextlib.contextmanager
def running(model, tokenizer=None, *, address=None, **limits):
    """Yields (server, port) of a running server of scores."""
    address = address or Address(port=0)
    if tokenizer is None:
        served = Served(model, "tiny", model.heads[0], "raw", None, None)
    else:
        served = Served.create(model, "tiny", head=model.heads[0])
    settings = ServerLimits(**{"seconds": 20, **limits})
    with started(make_app(served, address, settings), address) as found:
        yield found


@contextlib.contextmanager
def started(app, address):
    """Yields (server, port) of an application that runs in a thread."""
    server = make_server(app, connections=1024, seconds=20)
    with address.bind() as listening:
        thread = threading.Thread(target=lambda: server.run(sockets=[listening]), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield server, listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


def send(port, path, body=None, headers=None, method=None):
    """Returns (status, answer, headers) of one request; `body` is JSON unless it is bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    given = {"Content-Type": "application/json"} if content is not None else {}
    connection.request(method or ("GET" if content is None else "POST"), path, content, {**given, **(headers or {})})
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    is_json = response.headers.get("content-type", "").startswith("application/json")
    return response.status, json.loads(text) if is_json else text, response.headers


def wait_for(condition):
    """Waits until a condition is true."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
