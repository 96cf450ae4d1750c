"""The HTTP application of the page where a person ranks responses."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rmjax.labelling.session import Session
from rmjax.serving import app as serving
from rmjax.serving.web import Address, Handler, application, page_routes, read_body, require_token

BODY_BYTES, SECONDS = 2**20, 30
PAGES = {"/": "label.html", "/label.js": "label.js", "/agreement": "agreement.html", "/agreement.js": "agreement.js"}


def make_app(session: Session, address: Address) -> Starlette:
    """Returns the application; requests change the session one after another."""
    lock = threading.Lock()

    def answering(answer: Callable[[dict[str, Any]], Any], *, body: bool = True) -> Handler:
        async def handle(request: Request) -> Response:
            require_token(request, address.token)
            given = await read_body(request, BODY_BYTES, SECONDS) if body else {}

            def alone() -> Any:
                with lock:
                    return answer(given)

            return JSONResponse(await run_in_threadpool(alone))

        return handle

    routes = [
        Route("/current", answering(lambda body: session.current(), body=False)),
        Route("/judge", answering(session.judge), methods=["POST"]),
        Route("/skip", answering(lambda body: session.skip(body.get("item"))), methods=["POST"]),
        Route("/undo", answering(lambda body: session.undo()), methods=["POST"]),
        Route("/agreement.json", answering(lambda body: session.agreement(), body=False)),
    ]
    style = page_routes(Path(serving.__file__).parent / "pages", {"/style.css": "style.css"})
    return application([*routes, *page_routes(Path(__file__).parent / "pages", PAGES), *style], address)
