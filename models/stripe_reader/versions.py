"""API versions whose payloads the reader reads completely (FAULTS 4.2 "usable", STRIPE 2.1)."""

import re

PINNED = "2026-10-28.endive"

# Before it, invoices carry `date` and other names that no payload of ours proves (STRIPE 2.2).
_OLDEST = "2019-02-19"
# First version of each named release; a release holds until the next one begins. Within one, versions only add.
_RELEASES = (
    ("2024-09-30", "acacia"),
    ("2025-03-31", "basil"),
    ("2025-09-30", "clover"),
    ("2026-03-25", "dahlia"),
    ("2026-09-30", "endive"),
)
_VERSION = re.compile(r"(\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01]))(?:\.([a-z]+))?")


def is_usable(api_version: str | None, pinned: str = PINNED) -> bool:
    """Whether a payload of `api_version` may be applied as it is; else it is only a pointer, read again pinned.

    Usable: from 2019-02-19 up to the pinned one, with the name its release carries. Not usable: no version (thin events),
    previews, names we don't know or that don't fit their date, anything newer than `pinned`, anything unparsable.
    """
    if api_version == pinned:
        return True
    dated = _VERSION.fullmatch(api_version) if api_version else None
    limit = _VERSION.fullmatch(pinned)
    if dated is None or limit is None:
        return False
    day, name = dated.groups()
    return _OLDEST <= day <= limit[1] and name == _release_of(day)


def _release_of(day: str) -> str | None:
    """The name of the release that `day` falls in; None before there were names. ISO dates compare as text."""
    name = None
    for first, release in _RELEASES:
        if day >= first:
            name = release
    return name
