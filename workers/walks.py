"""The lists of a full sync, cut into windows that several readers walk at once, and where each of them stands.

A position counts only once its page is committed: what is saved is the committed state, so a killed run repeats at most the
pages that were under way. Thread-safe: readers take windows, the one writer commits them.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from workers.lists import ALWAYS, FIRST_STRIPE_SECOND, Walk, walks_of
from workers.stripe_objects import Cursor

WORTH_CUTTING = 300
"""Objects that must be expected ahead in a window before it is cut in two: a cut costs up to two short pages."""


@dataclass(slots=True)
class Window:
    """A part of a list: `created` from `low` to below `high` (None: no end). `at`: read so far; `done_at`: committed so far."""

    low: int | None
    high: int | None
    at: Cursor | None = None
    done_at: Cursor | None = None
    top: int | None = None
    rows: int = 0
    busy: bool = False
    read: bool = False
    done: bool = False

    def params(self, base: dict[str, Any]) -> dict[str, Any]:
        """The list's parameters, narrowed to this window."""
        created = {**base.get("created", {})}
        if self.low is not None:
            created["gte"] = max(self.low, created.get("gte", self.low))
        if self.high is not None:
            created["lt"] = min(self.high, created.get("lt", self.high))
        return {**base, "created": created} if created else base


@dataclass(slots=True)
class Progress:
    """A walk as far as it has come."""

    walk: Walk
    windows: list[Window] = field(default_factory=lambda: [Window(None, None)])
    rows: int = 0
    denied: str | None = None

    @property
    def done(self) -> bool:
        """Whether every page is committed (or the key may not read this list)."""
        return self.denied is not None or all(window.done for window in self.windows)


class Step(NamedTuple):
    """A page as a move of the committed state: `rows` more, on behind `following`, or the `last` of its window."""

    walk: Walk
    window: Window
    rows: int
    following: Cursor | None
    last: bool


class Plan:
    """What is left to read. `oldest` (s): about when the account's first object was made."""

    def __init__(self, start: int, oldest: int | None = None, names: Sequence[str] = ALWAYS) -> None:
        self.start = start
        self.oldest = oldest
        self._walks = walks_of(start)
        self.progress = {name: Progress(self._walks[name]) for name in names}
        self._changed = threading.Condition()
        self._closed = False
        self.cuttable = True

    # --- readers -----------------------------------------------------------------------------------

    def take(self, wait_s: float) -> tuple[Walk, Window] | None:
        """A window nobody reads, cut from another's if need be; None when there is none within `wait_s`."""
        deadline = time.monotonic() + wait_s
        with self._changed:
            while not self._closed:
                found = self._free() or self._cut()
                if found is not None:
                    found[1].busy = True
                    return found
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)
        return None

    def _ready(self) -> Iterable[Progress]:
        for progress in self.progress.values():
            before = (self.progress[name] for name in progress.walk.first if name in self.progress)
            if not progress.done and all(other.done for other in before):
                yield progress

    def _free(self) -> tuple[Walk, Window] | None:
        for progress in self._ready():
            for window in progress.windows:
                if not window.busy and not window.read:
                    return progress.walk, window
        return None

    def _cut(self) -> tuple[Walk, Window] | None:
        """Half of what is left of the window that has most before it."""
        if not self.cuttable:
            return None
        ahead = [
            (self._ahead(window, progress.walk), progress, window)
            for progress in self._ready()
            if progress.walk.windows
            for window in progress.windows
            if window.busy and not window.read and window.at is not None and window.at.created is not None
        ]
        expected, progress, window = max(ahead, key=lambda entry: entry[0], default=(0.0, None, None))
        if progress is None or window is None or expected < WORTH_CUTTING:
            return None
        assert window.at is not None and window.at.created is not None  # noqa: S101, PT018 - chosen so above
        middle = (window.at.created + self._floor(window, progress.walk)) // 2
        if not self._floor(window, progress.walk) < middle < window.at.created:
            return None
        lower = Window(window.low, middle)
        window.low = middle
        progress.windows.append(lower)
        return progress.walk, lower

    def _floor(self, window: Window, walk: Walk) -> int:
        if window.low is not None:
            return window.low
        return int(walk.params.get("created", {}).get("gte") or self.oldest or FIRST_STRIPE_SECOND)

    def _ahead(self, window: Window, walk: Walk) -> float:
        """Objects expected in the rest of a window, at the density seen in it."""
        assert window.at is not None and window.at.created is not None  # noqa: S101, PT018 - the caller looked
        span = max((window.top or window.at.created) - window.at.created, 1)
        return window.rows / span * max(window.at.created - self._floor(window, walk), 0)

    def advance(self, window: Window, rows: Sequence[dict[str, Any]], following: Cursor | None) -> bool:
        """A page of a window was read; whether it goes on behind `following`."""
        with self._changed:
            created = [row["created"] for row in rows if isinstance(row.get("created"), int)]
            if window.top is None and created:
                window.top = created[0]
            window.rows += len(rows)
            window.at = following
            below = window.low is not None and created and created[-1] < window.low
            if following is None or below:
                window.read, window.busy = True, False
            self._changed.notify_all()
            return not window.read

    # --- the writer --------------------------------------------------------------------------------

    def commit(self, page: Step) -> None:
        """A page stands in the database."""
        with self._changed:
            page.window.done_at, page.window.done = page.following, page.last
            progress = self.progress[page.walk.name]
            progress.rows += page.rows
            if progress.done:
                progress.windows = []
            self._changed.notify_all()

    def deny(self, walk: Walk, problem: str) -> None:
        """The key may not read this list; the others go on (F68)."""
        with self._changed:
            self.progress[walk.name].denied = problem
            self._changed.notify_all()

    def denied(self, name: str) -> bool:
        """Whether a list is in the plan and could not be read."""
        return name in self.progress and self.progress[name].denied is not None

    def add(self, name: str) -> None:
        """One more list."""
        with self._changed:
            self.progress.setdefault(name, Progress(self._walks[name]))
            self._changed.notify_all()

    @property
    def done(self) -> bool:
        """Whether every list is committed to its end."""
        with self._changed:
            return all(progress.done for progress in self.progress.values())

    def close(self) -> None:
        """Let nobody take anything any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    # --- kept between processes ----------------------------------------------------------------------

    def to_json(self, steps: Sequence[Step] = ()) -> dict[str, Any]:
        """The committed state; with `steps` (oldest first), as it is once those pages are committed too."""
        ahead = {id(step.window): step for step in steps}  # the last step of a window says where it stands then
        rows = Counter[str]()
        for step in steps:
            rows[step.walk.name] += step.rows
        with self._changed:
            return {
                name: {
                    "rows": progress.rows + rows[name],
                    "denied": progress.denied,
                    "windows": [
                        _window_json(*where) for window in progress.windows if (where := _ahead(window, ahead)) is not None
                    ],
                }
                for name, progress in self.progress.items()
                if not progress.walk.in_memory
            }

    @classmethod
    def from_json(cls, start: int, oldest: int | None, saved: dict[str, Any]) -> "Plan":
        """The plan where a run left it."""
        plan = cls(start, oldest, tuple(name for name, walk in walks_of(start).items() if walk.in_memory or name in saved))
        for name, state in saved.items():
            progress = plan.progress[name]
            progress.rows, progress.denied = state["rows"], state["denied"]
            progress.windows = [_read_window(entry) for entry in state["windows"]]
        for name, progress in plan.progress.items():
            waiting = (other for other in plan.progress.values() if name in other.walk.first and not other.done)
            if progress.walk.in_memory and not any(waiting):
                progress.windows = []
        return plan

    def expected(self) -> int | None:
        """Objects in all lists together, estimated by how much of each span of time is behind us; None while nobody knows."""
        with self._changed:
            totals = [self._total(progress) for progress in self.progress.values()]
            known = [total for total in totals if total is not None]
            customers = self._total(self.progress["customers"]) if "customers" in self.progress else 0
            if customers is None:
                return None
            return sum(known) + customers * (len(totals) - len(known))  # a list not begun: about one object each

    def _total(self, progress: Progress) -> int | None:
        if progress.done:
            return progress.rows
        if not progress.rows:
            return None if progress.walk.windows else 0
        spans = [self._span(window, progress.walk) for window in progress.windows]
        whole = max(self.start - self._floor(Window(None, None), progress.walk), 1)
        left = min(sum(spans) / whole, 0.999)
        return max(progress.rows, int(progress.rows / (1 - left)))

    def _span(self, window: Window, walk: Walk) -> int:
        if window.done:
            return 0
        top = window.done_at.created if window.done_at and window.done_at.created else window.high or self.start
        return max(min(top, self.start) - self._floor(window, walk), 0)


def _ahead(window: Window, ahead: Mapping[int, Step]) -> tuple[Window, Cursor | None] | None:
    """A window and where it stands once `ahead` is committed; None when it is done then."""
    step = ahead.get(id(window))
    if window.done or (step is not None and step.last):
        return None
    return window, step.following if step is not None else window.done_at


def _window_json(window: Window, at: Cursor | None) -> list[Any]:
    return [window.low, window.high, at.after if at else None, at.created if at else None]


def _read_window(entry: list[Any]) -> Window:
    low, high, after, created = entry
    cursor = Cursor(after, created) if after is not None else None
    return Window(low, high, at=cursor, done_at=cursor, top=created)
