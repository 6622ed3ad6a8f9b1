"""What our pages have that Datasette's have not: a start page, links from ids, and errors without tracebacks."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from datasette import hookimpl
from datasette.app import Datasette
from datasette.utils.asgi import Base400, Request, Response
from datasette.views.base import DatasetteError
from markupsafe import Markup, escape

from finetuned.browse.start import start_page
from finetuned.browse.tables import NAME

_log = logging.getLogger(__name__)


@hookimpl
def register_routes() -> Sequence[tuple[str, Callable[..., Any]]]:
    """Put our start page in the place of Datasette's, which asks more of the ledger than it shows."""
    return [(r"^/$", start_page)]


@hookimpl
def render_cell(value: object, column: str, database: str, datasette: Datasette) -> Markup | None:
    """Show the id of a job, or of a file, as a link to it, in views and answers too; and what was found as a mark."""
    if database != NAME or not isinstance(value, str | int):
        return None
    if column == "passage":
        parts = str(value).split("**")  # every second one was found
        shown = [Markup("<mark>{}</mark>").format(part) if at % 2 else escape(part) for at, part in enumerate(parts)]
        return Markup("").join(shown)
    table = {"job_id": "jobs", "file_id": "files"}.get(column)
    return Markup('<a href="{}/{}">{}</a>').format(datasette.urls.table(NAME, table), value, value) if table else None


@hookimpl
def handle_exception(datasette: Datasette, request: Request, exception: Exception) -> Callable[[], Any]:
    """Say what went wrong on a page of its own; what is a mistake of ours is told on the terminal, too."""

    async def page() -> Response:
        status = _status(exception, request)
        told = exception.args[0] if isinstance(exception, Base400) and exception.args else str(exception)
        if isinstance(exception, DatasetteError):
            told = exception.message
            if exception.message_is_html:
                told = Markup(told)  # noqa: S704 - Datasette made it so, of parts that it escaped
        elif isinstance(exception, MemoryError):
            told = "this needs more memory than a query may have"
        elif status == 500:
            _log.error("the page %s cannot be made: %r", request.path, exception)
        title = getattr(exception, "title", None)
        said = {"ok": False, "error": told, "status": status, "title": title}
        if request.path.endswith(".json"):
            return Response.json(said, status=status)
        return Response.html(await datasette.render_template("error.html", said, request=request), status=status)

    return page


def _status(exception: Exception, request: Request) -> int:
    """Tell whose mistake an error is: that of the one who asked (400 and above), or ours (500)."""
    if isinstance(exception, Base400 | DatasetteError) and exception.status != 500:
        return int(exception.status)
    if isinstance(exception, DatasetteError | MemoryError):  # Datasette says nothing more of `?_sort=nope`
        return 400
    asks = bool(request.query_string) or request.path.endswith((".csv", ".blob"))
    # Datasette takes what stands behind the `?` as it is: a number that is none, JSON without a key that it needs
    return 400 if asks and isinstance(exception, ValueError | LookupError | sqlite3.Error) else 500
