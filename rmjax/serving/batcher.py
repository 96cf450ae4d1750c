"""Scoring of the requests of many clients in shared batches, by one thread that owns the model."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np

from rmjax.data.comparisons import Prompt
from rmjax.errors import InputError
from rmjax.scoring.reward_function import RewardFunction, Scored

BYTES_PER_TOKEN = 4  # an estimate: it changes which requests are computed together, never a score


class QueueFull(Exception):
    """The queue has no room for a request."""


class Stopped(Exception):
    """The scorer takes no more requests, or ended before it computed one."""


class NotFinite(Exception):
    """The model gave a score that is not a finite number."""


@dataclasses.dataclass(frozen=True)
class QueueLimits:
    """Limits of the queue.

    Attributes:
        waiting_tokens: of all requests that wait, estimated; a further request is refused.
        batch_tokens: of the requests that are computed together, estimated; a larger request is computed alone.

    Raises:
        InputError: a limit is not positive.
    """

    waiting_tokens: int = 2**20
    batch_tokens: int = 2**15

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if getattr(self, field.name) < 1:
                raise InputError(f"{field.name} must be at least 1, found {getattr(self, field.name)}")


class Job(NamedTuple):
    """A request: prompts, the responses to each, its estimated tokens, and where its scores go."""

    prompts: Sequence[Prompt]
    responses: Sequence[Sequence[str]]
    tokens: int
    result: Future[Scored]


Observer = Callable[[int, int, float], None]
"""Called after each batch with its requests, its texts and its seconds."""


class Batcher:
    """A thread that scores waiting requests, oldest first, as many together as `limits` allow.

    While it computes, further requests wait and are the next batch. So one client alone never waits for others, and
    many clients share batches. A request that the model refuses fails alone: its batch is computed again, one by one.

    Args:
        model: the reward function; only the thread uses it.
        limits: of the queue.
        observe: called after each batch.
    """

    def __init__(self, model: RewardFunction, limits: QueueLimits, observe: Observer = lambda *batch: None) -> None:
        self.model, self.limits, self._observe = model, limits, observe
        self._waiting: deque[Job] = deque()
        self._tokens = 0
        self._stopped = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="scorer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Number of requests that wait."""
        return len(self._waiting)

    @property
    def alive(self) -> bool:
        """True while requests are taken and computed."""
        return not self._stopped and self._thread.is_alive()

    def submit(self, prompts: Sequence[Prompt], responses: Sequence[Sequence[str]]) -> Future[Scored]:
        """Returns the future scores of the responses to each prompt, as `RewardFunction.score_groups` gives them.

        A future that is cancelled before its batch begins is not computed.

        Raises:
            QueueFull: too many tokens wait.
            Stopped: after `stop`.
            InputError: the request alone is larger than the queue.
        """
        tokens = estimated_tokens(prompts, responses)
        if tokens > self.limits.waiting_tokens:
            raise InputError(
                f"the request has about {tokens} tokens, more than the queue of {self.limits.waiting_tokens}: divide it"
            )
        with self._changed:
            if not self.alive:
                raise Stopped("the server is stopping")
            if self._tokens + tokens > self.limits.waiting_tokens:
                raise QueueFull(f"{len(self._waiting)} requests of about {self._tokens} tokens are waiting")
            job = Job(prompts, responses, tokens, Future())
            self._waiting.append(job)
            self._tokens += tokens
            self._changed.notify()
        return job.result

    def stop(self, seconds: float) -> None:
        """Takes no more requests, and waits so long for those that were taken; the others fail with `Stopped`."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join(seconds)
        with self._changed:
            while self._waiting:
                _fail(self._waiting.popleft().result, Stopped("the server stopped before this request was computed"))

    def _run(self) -> None:
        while batch := self._next_batch():
            began = time.perf_counter()
            self._score(batch)
            texts = sum(len(group) for job in batch for group in job.responses)
            self._observe(len(batch), texts, time.perf_counter() - began)

    def _next_batch(self) -> list[Job]:
        """Waits for requests; returns those of the next batch, or none after `stop`."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopped)
                batch: list[Job] = []
                tokens = 0
                while self._waiting and (not batch or tokens + self._waiting[0].tokens <= self.limits.batch_tokens):
                    job = self._waiting.popleft()
                    self._tokens -= job.tokens
                    if job.result.set_running_or_notify_cancel():
                        batch.append(job)
                        tokens += job.tokens
                if batch or self._stopped:
                    return batch

    def _score(self, batch: Sequence[Job]) -> None:
        """Gives every request of a batch its scores, or its own error."""
        # Responses to an equal prompt are scored together, whoever asks, so that the prompt is computed once.
        groups: dict[Prompt, list[str]] = {}
        places: list[list[tuple[Prompt, slice]]] = []
        for job in batch:
            places.append([])
            for prompt, texts in zip(job.prompts, job.responses, strict=True):
                group = groups.setdefault(prompt, [])
                places[-1].append((prompt, slice(len(group), len(group) + len(texts))))
                group.extend(texts)
        try:
            scored = self.model.score_groups(list(groups), list(groups.values()))
            if not all(np.isfinite(scores_KxZ).all() for scores_KxZ in scored.raw):
                raise NotFinite("the model gave a score that is not a finite number")
        except Exception as error:
            if len(batch) == 1:
                batch[0].result.set_exception(error)
            else:
                for job in batch:
                    self._score([job])
            return
        found = dict(zip(groups, zip(*scored, strict=True), strict=True))
        for job, mine in zip(batch, places, strict=True):
            raw, cut = ([found[prompt][part][place] for prompt, place in mine] for part in range(2))
            job.result.set_result(Scored(raw, cut))


def estimated_tokens(prompts: Sequence[Prompt], responses: Sequence[Sequence[str]]) -> int:
    """Returns the tokens of the prompts and of all their responses, by their UTF-8 bytes; at least one for each."""
    texts = [message.content for prompt in prompts for message in prompt]
    texts += [response for group in responses for response in group]
    return sum(1 + len(text.encode()) // BYTES_PER_TOKEN for text in texts)


def _fail(result: Future[Scored], error: Exception) -> None:
    if result.set_running_or_notify_cancel():
        result.set_exception(error)
