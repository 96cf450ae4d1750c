"""Parts of a small HTTP server: bodies of JSON, errors in one sentence, a token, pages, and the process."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hmac
import ipaddress
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from rmjax.data.jsonl import decoded_json
from rmjax.errors import InputError

TOKEN = "RMJAX_TOKEN"  # environment variable with the token
Handler = Callable[[Request], Awaitable[Response]]
# Pages run only their own script, load nothing from elsewhere, and are in no frame of another page.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; frame-ancestors 'none'"
)
MEDIA = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}


@dataclasses.dataclass(frozen=True)
class Address:
    """Address and port of a server, and its access token.

    Attributes:
        host: an address or a name.
        port: 0 for a free one.
        token: what a client sends as `Authorization: Bearer TOKEN`; empty for no token.

    Raises:
        InputError: another machine could ask without a token, or the token or the port cannot be used.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.port < 2**16:
            raise InputError(f"--port={self.port} must be from 0 to 65535")
        if self.token and (len(self.token) < 16 or not self.token.isascii() or not self.token.isprintable()):
            raise InputError(f"{TOKEN} must have at least 16 printable ASCII characters")
        if not self.local and not self.token:
            raise InputError(
                f"--host={self.host} can be reached from other machines: set the environment variable {TOKEN} to a "
                "secret of at least 16 characters, which clients send as a bearer token, or use --host=127.0.0.1"
            )

    @property
    def local(self) -> bool:
        """True if only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def bind(self) -> socket.socket:
        """Returns a socket that listens here.

        Raises:
            InputError: the address cannot be used, for example because another program has the port.
        """
        try:
            family, _, _, _, where = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
            return socket.create_server(where[:2], family=family, backlog=1024)
        except OSError as error:
            raise InputError(
                f"{self.host}:{self.port} cannot be used ({error.strerror}): choose another port"
            ) from None


def application(
    routes: Sequence[BaseRoute], address: Address, lifespan: Callable[[Starlette], Any] | None = None
) -> Starlette:
    """Returns an application whose errors are JSON: `{"error": SENTENCE}`.

    A local server answers only requests for a local name. So a page of another site cannot reach it under a name of
    its own (DNS rebinding).
    """
    hosts = ["localhost", "127.0.0.1", "[::1]", address.host] if address.local else ["*"]
    return Starlette(
        routes=routes,
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)],
        exception_handlers={HTTPException: _http_error, InputError: _input_error, Exception: _defect},
        lifespan=lifespan,
    )


async def read_body(request: Request, most: int, seconds: float) -> dict[str, Any]:
    """Returns the JSON object in the body of a request.

    Raises:
        HTTPException: 415 for another type, 413 for more than `most` bytes, 408 if it takes longer than `seconds`.
        InputError: it is no JSON object.
    """
    # A page of another site can post a form, but JSON only with permission, which this server never gives.
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "the body must be JSON: send the header Content-Type: application/json")
    too_large = HTTPException(413, f"the body has more than {most} bytes: divide the request", {"Connection": "close"})
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > most:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                body += part
                if len(body) > most:
                    raise too_large
    except TimeoutError:
        raise HTTPException(408, f"the body took longer than {seconds:g} seconds", {"Connection": "close"}) from None
    except ClientDisconnect:
        raise HTTPException(400, "the connection ended inside of the body") from None
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"the body is not UTF-8 text (byte {error.start + 1})") from None
    value = decoded_json(text, "the body")
    if not isinstance(value, dict):
        raise InputError("the body must be a JSON object")
    return value


def require_token(request: Request, token: str) -> None:
    """Raises HTTPException 401 if a token is set and the request does not have it."""
    given = request.headers.get("authorization", "")
    if token and not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        raise HTTPException(401, "send the token as Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})


def page_routes(folder: Path, names: dict[str, str]) -> list[Route]:
    """Returns the routes of static files: path -> name in `folder`."""

    def route(path: str, name: str) -> Route:
        content = (folder / name).read_bytes()
        headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}

        async def answer(request: Request) -> Response:
            return Response(content, media_type=MEDIA[Path(name).suffix], headers=headers)

        return Route(path, answer)

    return [route(path, name) for path, name in names.items()]


def make_server(app: Starlette, *, connections: int, seconds: float) -> uvicorn.Server:
    """Returns a server of an application; `run` starts it, and it ends at SIGINT or SIGTERM.

    Args:
        app: the application.
        connections: most connections and requests at a time; further ones get status 503.
        seconds: for requests in progress at the end.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        limit_concurrency=connections,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=int(seconds),
        server_header=False,
    )
    return uvicorn.Server(config)


def run(server: uvicorn.Server, address: Address, ready: Callable[[str], None]) -> None:
    """Serves at an address until SIGINT or SIGTERM; calls `ready` with the URL when connections are accepted.

    Raises:
        InputError: the address cannot be used.
    """
    # uvicorn raises the signal again after a clean end. A script ends the same way for both.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with address.bind() as listening:
        host, port = listening.getsockname()[:2]
        ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listening])


@contextlib.asynccontextmanager
async def closing(stop: Callable[[], None]) -> AsyncIterator[None]:
    """Calls `stop` in a thread at the end."""
    try:
        yield
    finally:
        await asyncio.to_thread(stop)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # it is registered for this class
    detail = error.detail
    if error.status_code in (404, 405):
        detail = f"{request.method} {request.url.path}: {detail.lower()}"
    return JSONResponse({"error": detail}, error.status_code, error.headers)


async def _input_error(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)


async def _defect(request: Request, error: Exception) -> Response:
    # Starlette raises the exception again, and uvicorn prints its traceback.
    return JSONResponse({"error": "the server failed to answer: its log has the reason"}, 500)
