"""The study's page, on this machine alone unless asked otherwise."""

from __future__ import annotations

import json
import os
import pathlib
import urllib.parse
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any

from deblur_tf.study import design
from deblur_tf.study.answers import Answers

MAX_NAME, MAX_BODY = 64, 10_000


class Refused(Exception):
    """A request that cannot be answered, with a message for the page."""


class Visits:
    """Chooses what each rater sees next, and stores the answers.

    Args:
      folder: folder of the study.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.study = design.read(folder)
        self.answers = Answers(folder)
        self.files = {f for c in self.study.comparisons for f in (c.left_file, c.right_file)}

    def next(self, rater: str, again: int | None = None) -> dict[str, Any]:
        """The next comparison without an answer, or number `again`, as data for the page.

        Raises:
          Refused: if there is no such comparison, or the name is missing or too long.
        """
        self._checked(rater)
        order = design.order(self.study, rater)
        given = self.answers.of(rater)
        shown = next((c for c in order if c.id not in given), None)
        if again is not None:
            shown = next((c for c in order if c.id == again), None)
            if shown is None:
                raise Refused(f"no comparison {again}")
        about = {"answered": len(given), "total": len(order), "done": shown is None}
        position = len(order) if shown is None else order.index(shown)
        about["previous"] = order[position - 1].id if position else None
        if shown is None:
            return about
        files = {"left": shown.left_file, "right": shown.right_file}
        return about | files | {"comparison": shown.id}

    def answer(self, body: Any) -> dict[str, Any]:
        """Keeps an answer; returns what comes next.

        Raises:
          Refused: if the body is not a valid name, comparison and winner.
        """
        if not isinstance(body, dict):
            raise Refused("not an answer")
        comparison, winner = body.get("comparison"), body.get("winner")
        rater = self._checked(body.get("rater"))
        if winner not in ("left", "right"):
            raise Refused("the winner must be left or right")
        if type(comparison) is not int or not 0 <= comparison < len(self.study.comparisons):
            raise Refused(f"no comparison {comparison}")
        self.answers.give(rater, comparison, winner)
        return self.next(rater)

    def _checked(self, rater: Any) -> str:
        if not isinstance(rater, str) or not 0 < len(rater.strip()) <= MAX_NAME:
            raise Refused(f"a name of 1 to {MAX_NAME} letters is needed")
        return rater


class Handler(BaseHTTPRequestHandler):
    """Answers the page's requests; `server.visits` is a `Visits`."""

    server: Any
    timeout = 30  # seconds that a request may take to arrive

    def _is_foreign(self) -> bool:
        """Refuses requests by another host name (DNS rebinding); returns whether it did."""
        host = self.headers.get("Host", "").rsplit(":", 1)[0]
        local = self.server.server_address[0] == "127.0.0.1"
        if local and host not in ("127.0.0.1", "localhost"):
            self._send(b'{"error": "wrong host"}', "application/json", HTTPStatus.FORBIDDEN)
            return True
        return False

    def do_GET(self) -> None:  # noqa: N802
        if self._is_foreign():
            return
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/":
            page = resources.files("deblur_tf.study") / "page.html"
            self._send(page.read_bytes(), "text/html; charset=utf-8")
        elif url.path == "/next":
            query = urllib.parse.parse_qs(url.query)
            again = query.get("again", [""])[0]
            number = int(again) if again.isdecimal() and len(again) < 10 else None
            self._json(lambda: self.server.visits.next(query.get("rater", [""])[0], number))
        elif url.path.removeprefix("/pictures/") in self.server.visits.files:
            path = self.server.folder / design.PICTURES / url.path.removeprefix("/pictures/")
            self._send(path.read_bytes(), "image/png", cache=True)
        else:
            self._send(b'{"error": "nothing there"}', "application/json", HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:  # noqa: N802
        def answer() -> dict[str, Any]:
            if self.path != "/answer":
                raise Refused("nothing there")
            # Other sites' forms cannot send this type without a CORS preflight request.
            if self.headers.get_content_type() != "application/json":
                raise Refused("JSON is needed")
            length = self.headers.get("Content-Length", "")
            if not length.isdigit() or int(length) > MAX_BODY:
                raise Refused("too long")
            try:
                body = json.loads(self.rfile.read(int(length)))
            except (ValueError, RecursionError) as error:
                raise Refused("not JSON") from error
            return self.server.visits.answer(body)

        if not self._is_foreign():
            self._json(answer)

    def _json(self, make: Any) -> None:
        try:
            found, status = make(), HTTPStatus.OK
        except Refused as error:
            found, status = {"error": str(error)}, HTTPStatus.BAD_REQUEST
        except Exception as error:  # such as a full disk: the page says so and tries again
            found, status = {"error": str(error)}, HTTPStatus.INTERNAL_SERVER_ERROR
        self._send(json.dumps(found).encode(), "application/json", status)

    def _send(
        self, body: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK, cache: bool = False
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "max-age=86400" if cache else "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Does not log single requests."""


class Server(ThreadingHTTPServer):
    """Serves a study.

    Args:
      folder: folder of the study.
      host, port: address and port to listen at; port 0 takes a free one.

    Raises:
      UsageError: if there is no study.
      OSError: if the port is taken.
    """

    daemon_threads = True

    def __init__(self, folder: str | os.PathLike[str], host: str = "127.0.0.1", port: int = 8000):
        self.folder = pathlib.Path(folder)
        self.visits = Visits(folder)
        super().__init__((host, port), Handler)
