"""The pages as a web application: which path shows what, and how errors are shown."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import quote, unquote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from alignery.errors import AligneryError, UsageError
from alignery.untrusted import excerpt
from alignery.view import downloads, render
from alignery.view.lakes import Lakes
from alignery.view.page_request import Page, PageRequest
from alignery.view.pages import live, marks, models, overview, row, rows, snapshots, words
from warehouse.browse.story import find, whole_text
from warehouse.database.connection import time_limit

READ_S = 10.0  # for all queries of one page
DOWNLOAD_S = 120.0
YEAR_S = 365 * 86400
EVERY_S = 1.0  # between two polls of a running refresh
WATCHERS = 8  # that may follow a refresh at the same time

Show = Callable[..., Page]  # (req, *parts of the path)
# Path → what it shows; the parts in braces are passed by name.
PAGES: dict[str, Show] = {
    "/": overview.overview,
    "/report/{run_id}": overview.report,
    "/rows": rows.tables,
    "/rows/{name}": rows.rows,
    "/pairs/{name}": rows.pairs,
    "/row/{table}/{id}": row.row,
    "/row/{table}/{id}/uses": row.used_by,
    "/words": words.words,
    "/words/{id:path}": words.word,
    "/models": models.models,
    "/models/{id:path}": models.model,
    "/snapshots": snapshots.snapshots,
    "/marks": marks.marks,
    "/live": live.live,
    "/sql": rows.sql,
}


@dataclass
class Site:
    """The pages over one lake.

    Args:
        read_s: seconds that one page may ask the lake.
    """

    lakes: Lakes
    read_s: float = READ_S
    watchers: int = field(default=0, init=False)

    def req(self, request: Request) -> PageRequest:
        params = tuple(request.query_params.multi_items())
        return PageRequest(self.lakes, request.url.path, params, by=unquote(request.cookies.get(marks.NAME, "")))

    async def page(self, show: Show, request: Request) -> Response:
        """A page in the format that is asked for."""
        req = self.req(request)
        return await self._tried(req, lambda: self._shown(show, req, request), 404 if request.path_params else 400)

    async def _tried(self, req: PageRequest, answer: Callable[[], Response], status: int) -> Response:
        """The response; an error in the request is a page with the message and this status."""
        try:
            return await run_in_threadpool(answer)
        except UsageError as error:
            return self._failed(req, error, status)
        except AligneryError as error:
            return self._failed(req, error, 500)

    def _shown(self, show: Show, req: PageRequest, request: Request) -> Response:
        kind = req.get("format", "html")
        if kind in downloads.KINDS and show in (rows.rows, rows.sql):
            with time_limit(DOWNLOAD_S):
                return self._download(req, kind, request)
        if kind not in ("html", "json"):
            raise UsageError(
                f"format: got {excerpt(kind, 20)!r}, expected html or json; rows also have csv, parquet, jsonl"
            )
        if any("\0" in str(value) for value in request.path_params.values()):
            raise UsageError("got a NUL in the address, expected an id or a name; correct it")
        with time_limit(self.read_s):
            page = show(req, **request.path_params)
            if kind == "json":
                return Response(render.json_bytes(page.data), media_type="application/json")
            return HTMLResponse(render.html(req, page))

    def _download(self, req: PageRequest, kind: str, request: Request) -> Response:
        name = request.path_params.get("name", "query")
        query = rows.export_query(req, name) if "name" in request.path_params else req.get("q")
        file = downloads.written(req.lake, query, kind)
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}.{kind}"}
        return StreamingResponse(downloads.blocks(file), media_type=downloads.KINDS[kind], headers=headers)

    def _failed(self, req: PageRequest, error: AligneryError, status: int) -> Response:
        message = excerpt(error, 2000)
        if req.get("format") not in ("", "html"):
            return Response(render.json_bytes({"error": message}), status, media_type="application/json")
        query = req.get("q") if req.path == "/sql" else ""
        page = Page("error.html", "Not shown", {"error": message, "query": query})
        return HTMLResponse(render.html(PageRequest(self.lakes, req.path), page), status)

    async def go(self, request: Request) -> Response:
        """Redirect to the row whose id begins like this."""
        req = self.req(request)

        def found() -> Response:
            with time_limit(self.read_s):
                return RedirectResponse(req.url("row", *find(req.lake, req.get("id").strip())), 303)

        return await self._tried(req, found, 404)

    async def mark(self, request: Request) -> Response:
        """Store what a person entered in a form, and go back to its page."""
        req, body = self.req(request), await _body(request)

        def store() -> Response:
            form = marks.form_of(body)
            marks.keep(req, form)
            answer = RedirectResponse("/" + form.get("back", "").lstrip("/\\"), 303)
            answer.set_cookie(marks.NAME, quote(form["by"]), max_age=YEAR_S, httponly=True, samesite="strict")
            return answer

        return await self._tried(req, store, 400)

    async def text(self, request: Request) -> Response:
        """One text of one row, whole, as plain text."""
        req, part = self.req(request), request.path_params

        def found() -> Response:
            with time_limit(self.read_s):
                return PlainTextResponse(whole_text(req.lake, part["table"], part["id"], part["column"]))

        return await self._tried(req, found, 404)

    async def events(self, request: Request) -> Response:
        """A running refresh, as events: each holds the part of the page that shows it, where that has changed."""
        if self.watchers >= WATCHERS:
            return PlainTextResponse("too many look at it already; close a page of them", 503)
        return StreamingResponse(self._events(request), media_type="text/event-stream")

    async def _events(self, request: Request) -> AsyncIterator[str]:
        self.watchers += 1
        before = None
        try:
            while not await request.is_disconnected():
                try:
                    now = await run_in_threadpool(self._progress, self.req(request))
                except AligneryError as error:
                    yield f"event: failed\ndata: {json.dumps(excerpt(error))}\n\n"
                    return
                if now != before:
                    yield f"data: {json.dumps(now)}\n\n"
                before = now
                await asyncio.sleep(EVERY_S)
        finally:
            self.watchers -= 1

    def _progress(self, req: PageRequest) -> str:
        with time_limit(self.read_s):
            return render.html(req, live.progress(req))


async def _body(request: Request) -> bytes:
    """A form's bytes, of one that is too long its beginning."""
    found = b""
    async for part in request.stream():
        found += part
        if len(found) > marks.FORM:
            break
    return found


def application(site: Site) -> Starlette:
    """The pages of a site, without the checks of requests: see `alignery.view.access_control`."""
    routes: list[Any] = [Route(path, partial(site.page, show), methods=["GET"]) for path, show in PAGES.items()]
    routes[0:0] = [
        Route("/marks", site.mark, methods=["POST"]),
        Route("/go", site.go, methods=["GET"]),
        Route("/text/{table}/{id}/{column}", site.text, methods=["GET"]),
        Route("/live/events", site.events, methods=["GET"]),
        Route("/pairs", lambda _: RedirectResponse("/pairs/preferences"), methods=["GET"]),
        Mount("/static", StaticFiles(directory=render.FOLDER / "static")),
    ]

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        site.lakes.close()

    return Starlette(routes=routes, lifespan=lifespan)
