"""The list of customers, and the poll that keeps it up to date."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from zlib import crc32

from flask import Blueprint, get_template_attribute, redirect, render_template, request
from sqlalchemy import Connection
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response

from models.store.readmodel import (
    STATUSES,
    Filter,
    ListRow,
    Position,
    Totals,
    changes_mark,
    count_changed_elsewhere,
    load_breakdown,
    load_environments,
    load_page,
    load_plan_labels,
    load_rows,
)
from models.store.session import session_scope
from models.store.sources import Sources, load_sources
from webhook_app.api.access import note_read
from webhook_app.api.params import BadParameter, read_cursor, read_filter, read_sort, write_cursor
from webhook_app.auth import public, require, signed_in
from webhook_app.auth.context import now
from webhook_app.services import services
from webhook_app.ui.sources import notices, state_mark

blueprint = Blueprint("ui", __name__)
PAGE = 50
_SHOWN = re.compile(r"([1-9][0-9]{0,17})-([0-9a-f]{1,8})")


@dataclass(frozen=True)
class Question:
    """What the address asks for."""

    chosen: Filter
    sort: str
    cursor: str | None
    after: Position | None

    def address(self, **changes: Any) -> str:
        """The address of this list with some of it changed; a cursor is kept only when given."""
        values: dict[str, Any] = {
            "q": self.chosen.q, "status": self.chosen.statuses, "plan": self.chosen.plans,
            "environment": self.chosen.environment, "sort": self.sort,
        } | changes  # fmt: skip
        if values["sort"] == "-mrr":
            values["sort"] = None
        kept = {name: value for name, value in values.items() if value}
        query = urlencode(kept, doseq=True)
        return "/customers" + (f"?{query}" if query else "")

    def toggled(self, status: str) -> str:
        """The address with this status added, or taken away where it is on."""
        on = self.chosen.statuses
        return self.address(status=tuple(s for s in STATUSES if (s in on) != (s == status)))


@blueprint.get("/")
@public
def home() -> Response:
    """The list is the home page."""
    return redirect("/customers", 302)


@blueprint.get("/customers")
@require("csm")
def customers() -> str:
    """One page of the list."""
    who = signed_in()
    if who is not None:
        note_read(f"user:{who.user_id}")
    with session_scope(services().database) as conn:
        environments = load_environments(conn)
        asked = _question(request.args, environments)
        mark = changes_mark(conn)
        rows, more = load_page(conn, asked.chosen, asked.sort, asked.after, PAGE, summaries=True)
        parts = load_breakdown(conn, asked.chosen)
        plans = load_plan_labels(conn, asked.chosen.environment)
        sources = load_sources(conn, runs=True)
    drawn = _draw(rows)
    context = _context(asked, environments, sources, parts) | {
        "rows": drawn, "plans": plans, "live": _live_address(asked, drawn, mark), "etag": _etag(mark, sources),
        "next": None if more is None else asked.address(cursor=write_cursor(f"customers {asked.sort}", more)),
    }  # fmt: skip
    return render_template("customers.html", **context)


@blueprint.get("/customers/live")
@require("csm", activity=False)
def customers_live() -> Response | tuple[str, int, dict[str, str]]:
    """What changed of the rows on a reader's screen: those rows, the totals, and how many wait to be shown."""
    with session_scope(services().database) as conn:
        mark, sources = changes_mark(conn), load_sources(conn, runs=True)
        etag = _etag(mark, sources)
        if request.if_none_match.contains(etag):
            return Response(status=304, headers={"ETag": f'"{etag}"'})
        environments = load_environments(conn)
        asked = _question(request.args, environments)
        context = _live_context(conn, asked)
        context |= _context(asked, environments, sources, load_breakdown(conn, asked.chosen))
    page = render_template("_customers_live.html", etag=etag, **context)
    return page, 200, {"ETag": f'"{etag}"'}


def _live_context(conn: Connection, asked: Question) -> dict[str, Any]:
    shown = dict(_SHOWN.findall(request.args.get("shown", "")[:4000]))
    ids = [int(row_id) for row_id in shown]
    since = request.args.get("since", "0")
    rows = {row.id: row for row in load_rows(conn, ids)}
    drawn = _draw([rows[row_id] for row_id in ids if row_id in rows])
    changed = [one for one in drawn if shown[str(one["id"])] != one["digest"]]
    first = int(since.partition(".")[0]) if re.fullmatch(r"[0-9]{1,18}(\.[0-9.]{1,60})?", since) else 0
    waiting = count_changed_elsewhere(conn, asked.chosen, first, ids)
    return {"changed": changed, "waiting": waiting, "live": _live_address(asked, drawn, since)}


def _question(args: MultiDict[str, str], environments: Sequence[str]) -> Question:
    """The address read like the API's parameters; where both environments hold customers, production is meant."""
    mapped: MultiDict[str, str] = MultiDict()
    for ours, theirs in (("status", "payment_status"), ("plan", "plan"), ("q", "q"), ("sort", "sort")):
        mapped.setlist(theirs, [value for value in args.getlist(ours) if value])
    environment = args.get("environment") or ("production" if len(environments) > 1 else None)
    if environment and environment != "all":
        mapped["environment"] = environment
    sort = read_sort(mapped)
    cursor = args.get("cursor") or None
    return Question(_filter(mapped), sort, cursor, read_cursor(f"customers {sort}", cursor))


def _filter(mapped: MultiDict[str, str]) -> Filter:
    """As the API reads it, but a problem is told by the name that stands in this page's address."""
    try:
        return read_filter(mapped)
    except BadParameter as error:
        if error.parameter == "payment_status":
            raise BadParameter("status", error.problem) from None
        raise


def _context(asked: Question, environments: Sequence[str], sources: Sources, parts: dict[str, Totals]) -> dict[str, Any]:
    picked = [parts[status] for status in (asked.chosen.statuses or STATUSES)]
    return {
        "asked": asked, "chosen": asked.chosen, "environments": environments, "parts": parts, "statuses": STATUSES,
        "totals": _sum(picked), "everybody": _sum(parts.values()), "now": now(),
        "notices": notices(sources, asked.chosen.environment, environments, now()),
        "filtered": bool(asked.chosen.q or asked.chosen.statuses or asked.chosen.plans),
    }  # fmt: skip


def _sum(parts: Iterable[Totals]) -> Totals:
    every = list(parts)
    return Totals(sum(p.customers for p in every), sum(p.mrr for p in every), sum(p.unknown for p in every))


def _draw(rows: Sequence[ListRow]) -> list[dict[str, Any]]:
    """Each row's cells as HTML with their digest: two rows that look alike have the same one."""
    cells = get_template_attribute("_row.html", "cells")
    moment = now()
    drawn = [(row, cells(row, moment)) for row in rows]
    return [{"id": row.id, "html": html, "digest": f"{crc32(html.encode()):x}"} for row, html in drawn]


def _live_address(asked: Question, drawn: Sequence[dict[str, Any]], since: str) -> str:
    shown = ",".join(f"{row['id']}-{row['digest']}" for row in drawn)
    query = asked.address(since=since, shown=shown).partition("?")[2]
    return f"/customers/live?{query}"


def _etag(mark: str, sources: Sources) -> str:
    return f"{crc32(f'{mark}|{state_mark(sources, now())}'.encode()):x}"
