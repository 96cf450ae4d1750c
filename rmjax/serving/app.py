"""The HTTP application of a reward model: endpoints, limits, metrics."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rmjax.data.truncation import Truncation
from rmjax.errors import InputError
from rmjax.scoring.reward_function import SCALES, Scored
from rmjax.serving import protocols
from rmjax.serving.batcher import Batcher, NotFinite, QueueFull, QueueLimits, Stopped
from rmjax.serving.served import Served
from rmjax.serving.web import Address, Handler, application, closing, page_routes, read_body, require_token

PROTOCOLS: dict[str, protocols.Protocol] = {
    "/score": protocols.score,
    "/prefixes": protocols.prefixes,
    "/get_reward": protocols.openrlhf,
    "/classify": protocols.vllm_classify,
    "/pooling": protocols.vllm_pooling,
}
PAGES = {"/": "page.html", "/page.js": "page.js", "/style.css": "style.css"}
RETRY = {"Retry-After": "1"}


@dataclasses.dataclass(frozen=True)
class ServerLimits(QueueLimits):
    """Limits of a server, with those of its queue.

    Attributes:
        body_bytes: of a request.
        seconds: from the end of a body to its answer; also for reading the body, and for the end of the server.
        connections: at a time.
    """

    body_bytes: int = 2**24
    seconds: int = 60
    connections: int = 1024


class Metrics:
    """Counters and histograms in Prometheus' text format."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("rmjax_requests", "Requests", ["path", "status"], registry=self.registry)
        self.seconds = Histogram("rmjax_request_seconds", "Seconds of a request", ["path"], registry=self.registry)
        self.texts = Counter("rmjax_texts", "Texts that were scored", registry=self.registry)
        self.cut = Counter("rmjax_cut_tokens", "Tokens that truncation removed", registry=self.registry)
        sizes = [2**power for power in range(13)]
        self.batch_requests = Histogram(
            "rmjax_batch_requests", "Requests of a batch", registry=self.registry, buckets=sizes
        )
        self.batch_seconds = Histogram("rmjax_batch_seconds", "Seconds of a batch", registry=self.registry)
        self.waiting = Gauge("rmjax_waiting_requests", "Requests in the queue", registry=self.registry)

    def batch(self, requests: int, texts: int, seconds: float) -> None:
        """Counts a batch."""
        self.batch_requests.observe(requests)
        self.batch_seconds.observe(seconds)
        self.texts.inc(texts)


def make_app(served: Served, address: Address, limits: ServerLimits) -> Starlette:
    """Returns the application. Its scoring thread starts now and stops with the application."""
    metrics = Metrics()
    batcher = Batcher(served.model, limits, metrics.batch)
    metrics.waiting.set_function(lambda: batcher.waiting)

    async def scores(task: protocols.Task) -> Scored:
        try:
            future = batcher.submit(task.prompts, task.responses)
            async with asyncio.timeout(limits.seconds):
                return await asyncio.wrap_future(future)  # cancels the future if the time is over
        except QueueFull as error:
            raise HTTPException(429, f"{error}: try again later", RETRY) from None
        except Stopped as error:
            raise HTTPException(503, str(error), RETRY) from None
        except TimeoutError:
            raise HTTPException(504, f"no scores after {limits.seconds} seconds: try again later") from None
        except NotFinite as error:
            raise HTTPException(500, str(error)) from None

    def scoring(protocol: protocols.Protocol) -> Handler:
        async def answer(request: Request) -> Response:
            require_token(request, address.token)
            body = await read_body(request, limits.body_bytes, limits.seconds)
            task = protocol(body, served)
            scored = await scores(task)
            metrics.cut.inc(Truncation.of(scored.cut).tokens_cut)
            return JSONResponse(task.answer(scored))

        async def counted(request: Request) -> Response:
            path, began, status = request.url.path, time.perf_counter(), 500
            try:
                response = await answer(request)
                status = response.status_code
                return response
            except HTTPException as error:
                status = error.status_code
                raise
            except InputError:
                status = 400
                raise
            finally:
                metrics.requests.labels(path, status).inc()
                metrics.seconds.labels(path).observe(time.perf_counter() - began)

        return counted

    async def health(request: Request) -> Response:
        if not batcher.alive:
            raise HTTPException(503, "the server is stopping", RETRY)
        return JSONResponse({"status": "ok"})

    async def show_metrics(request: Request) -> Response:
        require_token(request, address.token)
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def models(request: Request) -> Response:
        require_token(request, address.token)
        about = {"heads": served.model.heads, "head": served.head, "scales": SCALES, "description": repr(served.model)}
        return JSONResponse({"object": "list", "data": [{"id": served.name, "object": "model", **about}]})

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with closing(lambda: batcher.stop(limits.seconds)):
            yield

    routes = [Route(path, scoring(protocol), methods=["POST"]) for path, protocol in PROTOCOLS.items()]
    routes += [Route("/health", health), Route("/metrics", show_metrics), Route("/v1/models", models)]
    return application([*routes, *page_routes(Path(__file__).parent / "pages", PAGES)], address, lifespan)
