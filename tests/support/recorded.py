"""Stripe's own recordings, read from beside the project when they are there; never copied into it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.fake_stripe.api import Request, Response
from tests.fake_stripe.server import FakeStripe
from tests.support import missing

SAMPLES = Path(__file__).parents[3] / "shared" / "samples"
Json = dict[str, Any]
SHOWN = ("customer", "subscription", "invoice")


def events() -> list[Json]:
    """All recorded webhook bodies."""
    return [json.loads(path.read_text()) for path in _files("events")]


def accounts() -> list[tuple[str, str, list[Json]]]:
    """(API version, domain, objects) of each recorded subscription: its customer, itself and its invoices. Where the customer
    wasn't recorded, one with an address at a domain of its own is made."""
    by_version: dict[str, list[Json]] = {}
    for path in _files("objects"):
        by_version.setdefault(path.parent.name, []).append(json.loads(path.read_text()))
    found = []
    for version, objects in sorted(by_version.items()):
        for subscription in (one for one in objects if one["object"] == "subscription"):
            owner = subscription["customer"]
            own = [one for one in objects if one["object"] in SHOWN and owner in (one["id"], one.get("customer"))]
            customer = next((one for one in own if one["object"] == "customer"), None)
            if customer is None:
                domain = f"{owner[4:].lower()}.example"
                own.insert(0, {"id": owner, "object": "customer", "created": subscription["created"], "livemode": False,
                               "email": f"ap@{domain}", "name": "Recorded", "metadata": {}})  # fmt: skip
            else:
                domain = customer["email"].partition("@")[2]
            found.append((version, domain, own))
    return found


def told(version: str, number: int, data: Json) -> Json:
    """An event that tells of a recorded object, in the version it was recorded in."""
    names = {"customer": "customer.updated", "subscription": "customer.subscription.updated", "invoice": "invoice.updated"}
    kind = names[data["object"]]
    return {"id": f"evt_told_{number}_{data['id']}", "object": "event", "api_version": version, "type": kind, "livemode": False,
            "created": 1_790_000_000 + number, "pending_webhooks": 1, "request": None, "data": {"object": data}}  # fmt: skip


def explain_lists(objects: list[Json]) -> dict[str, list[Json]]:
    """Objects as `explain` takes them."""
    return {f"{kind}s": [one for one in objects if one["object"] == kind] for kind in (*SHOWN, "price", "product")}


def answer_with(fake: FakeStripe, objects: Mapping[str, Json]) -> None:
    """Let the fake answer these ids with these objects, before it is started; for all others it speaks for itself."""
    real = fake.api.handle

    def handle(request: Request) -> Response:
        name = request.target.partition("?")[0].rpartition("/")[2]
        if name not in objects:
            return real(request)
        genuine = real(request)  # for its Date and its counts
        headers = {key: value for key, value in genuine.headers.items() if key.lower() != "content-length"}
        return Response(200, headers, json.dumps(objects[name]).encode())

    fake.api.handle = handle  # type: ignore[method-assign]


def _files(kind: str) -> list[Path]:
    found = sorted(SAMPLES.glob(f"{kind}/*/*.json"))
    if not found:
        missing("no recordings beside the project: ../shared/samples")
    return found
