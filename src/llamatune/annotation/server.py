"""The page's server, for this machine alone.

Whoever may use the page holds its address, which has a token in it: the page sends the token with every click as a
header, which no other site can make a browser do. A request is refused that does not call this machine by its own name
(so that no other name can be made to lead here), or that another site began. Texts of models reach the page as JSON and
are shown as text; its policy allows its own script and style, by their hashes, and nothing from anywhere.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import secrets
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from llamatune.annotation.desk import Desk, Refused
from llamatune.errors import Problem, RecipeError
from llamatune.outside import open_plain
from llamatune.runs.files import disk_errors

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

PAGE = Path(__file__).with_name("page.html")
PORT = 8642
"""Where the page is served if nobody is there: the same each time, so that an open tab goes on after a restart."""
TOKEN_FILE = "token"
_HOST = "127.0.0.1"
_OWN_NAMES = {"127.0.0.1", "localhost", "[::1]"}
_MOST_BYTES = 256 * 1024
_PACKAGES = ("starlette", "uvicorn")


def check_served() -> None:
    """Whether the packages are there.

    Raises:
        RecipeError: E029, with the command that installs them.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise RecipeError.of(
            [
                Problem(
                    "E029",
                    f"the package `{name}` is not installed",
                    "annotate",
                    why="the page is served by it",
                    hint="pip install 'llamatune[annotate]'",
                )
                for name in missing
            ]
        )


def token_of(folder: Path) -> str:
    """The token of a session, made the first time, and readable for its user alone; without the file, a new one."""
    path = folder / TOKEN_FILE
    with suppress(OSError), open_plain(path) as stream:
        kept = stream.read().decode("ascii", "replace").strip()
        if re.fullmatch(r"[\w-]{43}", kept):
            return kept
    token = secrets.token_urlsafe(32)
    with disk_errors(path):
        path.unlink(missing_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as stream:
            stream.write(token)
    return token


# ---- what is served ----------------------------------------------------------------------------------------


def application(desk: Desk, token: str) -> Starlette:
    """The page and its four kinds of clicks."""
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.middleware import Middleware
    from starlette.responses import HTMLResponse, JSONResponse
    from starlette.routing import Route

    page = PAGE.read_text("utf-8")

    async def show(request: Request) -> Response:
        return HTMLResponse(page)

    def clicked(how: Callable[[Mapping[str, Any]], Any]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            said = await _body(request)
            if said is None:
                return JSONResponse({"refused": "not understood"}, 400)
            try:
                return JSONResponse(await run_in_threadpool(how, said))
            except Refused as refused:
                return JSONResponse({"refused": str(refused)}, 409)

        return answer

    clicks = {
        "/api/about": lambda said: desk.about(),
        "/api/state": lambda said: desk.state(_text(said, "annotator")),
        "/api/say": lambda said: desk.say(
            _text(said, "annotator"),
            _text(said, "pair"),
            verdict=_whole(said.get("verdict")),
            safe=said.get("safe") if isinstance(said.get("safe"), str) else None,
            skip=said.get("skip") is True,
            seconds=_seconds(said.get("seconds")),
        ),
        "/api/undo": lambda said: desk.undo(_text(said, "annotator")),
        "/api/end": lambda said: desk.end_chat(_text(said, "annotator"), _text(said, "after")),
        "/api/ask": lambda said: desk.ask(
            _text(said, "annotator"),
            _text(said, "text"),
            None if said.get("after") is None else _text(said, "after"),
        ),
        "/api/answer": lambda said: desk.answer(_text(said, "annotator")),
    }
    routes = [Route("/", show, methods=["GET"])]
    routes += [Route(path, clicked(how), methods=["POST"]) for path, how in clicks.items()]
    return Starlette(routes=routes, middleware=[Middleware(Doorkeeper, token=token, policy=_policy(page))])


async def _body(request: Request) -> Mapping[str, Any] | None:
    """The mapping that a click carries; None for anything else."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return None
    content = b""
    async for piece in request.stream():
        content += piece
        if len(content) > _MOST_BYTES:
            return None
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _text(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name)
    if not isinstance(value, str):
        raise Refused("not understood")
    # Half a surrogate pair, which JSON can carry and a database cannot hold.
    return value.encode("utf-8", "replace").decode()


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _seconds(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and 0 <= value < 1e6 else 0.0


def _policy(page: str) -> str:
    """Nothing but the page's own script and style, by what they are, and clicks to where it is from."""
    hashes = {
        name: base64.b64encode(hashlib.sha256(found.encode()).digest()).decode()
        for name in ("style", "script")
        for found in re.findall(rf"<{name}>(.*?)</{name}>", page, re.DOTALL)
    }
    return (
        f"default-src 'none'; style-src 'sha256-{hashes['style']}'; script-src 'sha256-{hashes['script']}'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


class Doorkeeper:
    """Refuses whoever has no token, calls this machine by another name, or was sent here by another site; and says with
    every answer what the browser may do with it."""

    def __init__(self, app: ASGIApp, token: str, policy: str) -> None:
        self.app = app
        self._token = token.encode()
        self._headers = [
            (b"content-security-policy", policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"x-frame-options", b"DENY"),
            (b"referrer-policy", b"no-referrer"),
            (b"cache-control", b"no-store"),
            (b"cross-origin-opener-policy", b"same-origin"),
            (b"cross-origin-resource-policy", b"same-origin"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # nothing else is served; the server closes what it opened
        from starlette.requests import Request
        from starlette.responses import PlainTextResponse

        async def sealed(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *self._headers]
            await send(message)

        why = self._why_not(Request(scope))
        app = self.app if why is None else PlainTextResponse(why, 403)
        await app(scope, receive, sealed)

    def _why_not(self, request: Request) -> str | None:
        host = request.headers.get("host", "")
        if re.sub(r":\d+$", "", host).lower() not in _OWN_NAMES:
            return "this page is for this machine alone"
        origin = request.headers.get("origin")
        if origin is not None and origin.lower() != f"http://{host.lower()}":
            return "another site asked"
        if request.method == "GET":
            given = request.query_params.get("token", "")
        else:
            if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
                return "another site asked"
            given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode("utf-8", "replace"), self._token):
            return "the address lacks its token: open the one that llamatune annotate printed"
        return None


# ---- serving -----------------------------------------------------------------------------------------------


def listening_socket(port: int | None) -> socket.socket:
    """A socket on this machine's own address, on the usual port or another that is free; on `port`, where one is given.

    Raises:
        RecipeError: E172, somebody else listens there.
    """
    for number in (PORT, 0) if port is None else (port,):
        found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((_HOST, number))
            return found
        except OSError as error:
            found.close()
            reason = error.strerror or str(error)
    raise RecipeError("E172", f"cannot listen on port {port}: {reason}", place="--port")


def serve(desk: Desk, token: str, listening: socket.socket, started: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C or SIGTERM.

    Args:
        started: called with the page's address as soon as it answers.
    """
    import uvicorn

    config = uvicorn.Config(
        application(desk, token),
        log_level="error",
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    stop = threading.Event()

    # The server has a thread of its own, so that signals reach this one whatever the page waits for.
    def run() -> None:
        try:
            server.run(sockets=[listening])
        finally:
            stop.set()

    thread = threading.Thread(target=run, daemon=True)
    before = {
        number: signal.signal(number, _stopper(stop))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        thread.start()
        while not server.started and thread.is_alive():
            thread.join(0.02)
        if server.started:
            started(f"http://{_HOST}:{listening.getsockname()[1]}/?token={token}")
        while not stop.wait(1):
            pass
        server.should_exit = True
        thread.join(10)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stopper(stop: threading.Event) -> Callable[[int, FrameType | None], None]:
    def heard(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    return heard
