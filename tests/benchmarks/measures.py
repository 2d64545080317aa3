"""The measures. Each takes a running installation and returns a row of figures; none of them asserts a speed."""

import http.client
import signal
import statistics
import threading
import time
from typing import Any

from tests.benchmarks.events import EventMaker
from tests.benchmarks.installation import SECRET, Installation
from tests.benchmarks.load import send
from tests.benchmarks.shares import Shares

FAULTS = ("F15",)  # the rows that these measures are about, for `make faults`


def acknowledgements(installed: Installation, maker: EventMaker, *, connections: int, count: int) -> dict[str, Any]:
    """A burst, with the workers at work beside it as `make run` ships it."""
    bodies = maker.make(count)
    shares = Shares(installed)
    outcome = send(installed.webhook, SECRET, bodies, connections)
    cpu = shares.row()
    drained = installed.wait_drained()
    return {"measure": f"burst, {connections} connections", "events": count, **outcome.row(),
            "drained_after_s": round(drained, 2), "cpu": cpu}  # fmt: skip


def sustained(installed: Installation, maker: EventMaker, *, rate: float, seconds: float) -> dict[str, Any]:
    """So many a second for so long: acknowledged, and all visible when?"""
    bodies = maker.make(int(rate * seconds))
    shares = Shares(installed)
    outcome = send(installed.webhook, SECRET, bodies, 32, rate)
    cpu = shares.row()
    drained = installed.wait_drained()
    return {"measure": "sustained", "offered": rate, "seconds": seconds, **outcome.row(),
            "drained_after_s": round(drained, 2), "cpu": cpu}  # fmt: skip


def visible(installed: Installation, maker: EventMaker, *, rate: float, seconds: float) -> dict[str, Any]:
    """From sending an event to its figure in the API, while others come at `rate` a second."""
    filler = threading.Thread(target=send, args=(installed.webhook, SECRET, maker.make(int(rate * seconds)), 8, rate))
    probes = _Probes(installed, maker)
    filler.start()
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends:
        probes.one()
        time.sleep(0.05)
    filler.join()
    row = probes.row()
    installed.wait_drained()
    return {"measure": f"visible, {rate:.0f}/s", **row}


class _Probes:
    """Changes one subscription's quantity and asks the API until the customer's MRR says so."""

    def __init__(self, installed: Installation, maker: EventMaker) -> None:
        self._installed, self._maker = installed, maker
        self._client = http.client.HTTPConnection(*installed.address, timeout=30)
        rows = installed.get("/api/v1/customers?limit=200&sort=name")["data"]
        self._ours = {row["stripe_customer_id"]: row["id"] for row in rows if row["stripe_customer_id"]}
        self._subjects = [s for s in maker.subscriptions() if s["customer"] in self._ours]
        self._seconds: list[float] = []
        self._lost = 0
        self._number = 10

    def one(self) -> None:
        self._number += 1
        subject = self._subjects[self._number % len(self._subjects)]
        subject["items"]["data"][0]["quantity"] = 1000 + self._number
        body = self._maker.body("customer.subscription.updated", subject, {"quantity": 1})
        path = f"/api/v1/customers/{self._ours[subject['customer']]}"
        begun = time.perf_counter()
        send_one(self._installed, body)
        while time.perf_counter() - begun < 10:
            if f"{1000 + self._number}" in str(self._installed.get(path, self._client)["derivation"]):
                self._seconds.append(time.perf_counter() - begun)
                return
            time.sleep(0.001)
        self._lost += 1

    def row(self) -> dict[str, Any]:
        ordered = sorted(self._seconds)
        share = {name: round(1000 * ordered[min(len(ordered) - 1, int(len(ordered) * q))], 1)
                 for name, q in (("p50_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99))}  # fmt: skip
        return {"probes": len(ordered), **share, "not_seen": self._lost}


_clients = threading.local()


def send_one(installed: Installation, body: bytes) -> None:
    """One signed delivery from this process."""
    import hashlib
    import hmac

    moment = str(int(time.time()))
    mark = hmac.new(SECRET.encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()
    if getattr(_clients, "address", None) != installed.address:
        _clients.address = installed.address
        _clients.one = http.client.HTTPConnection(*installed.address, timeout=30)
    path = installed.webhook.split(str(installed.address[1]), 1)[1]
    headers = {"Stripe-Signature": f"t={moment},v1={mark}", "Content-Type": "application/json"}
    _clients.one.request("POST", path, body, headers)
    answer = _clients.one.getresponse()
    answer.read()
    assert answer.status == 200, answer.status


def drain(installed: Installation, maker: EventMaker, *, count: int) -> dict[str, Any]:
    """A full inbox after a backfill: the workers are paused while it fills, then let go."""
    workers = [process for kind, process in installed.processes() if kind == "worker"]
    for worker in workers:
        worker.send_signal(signal.SIGSTOP)
    send(installed.webhook, SECRET, maker.make(count), 32)
    before = installed.counter("recomputes")
    shares, begun = Shares(installed), time.perf_counter()
    for worker in workers:
        worker.send_signal(signal.SIGCONT)
    installed.wait_drained()
    took = time.perf_counter() - begun
    return {"measure": f"drain, {len(workers)} worker{'s'[: len(workers) > 1]}", "events": count,
            "per_second": round(count / took), "recomputes": installed.counter("recomputes") - before,
            "cpu": shares.row()}  # fmt: skip


def reads(installed: Installation) -> list[dict[str, Any]]:
    """Reading the list and one customer over the API, one connection."""
    client = http.client.HTTPConnection(*installed.address, timeout=30)
    first = installed.get("/api/v1/customers?limit=50", client)["data"][0]["id"]
    paths = {"list, 50 rows": "/api/v1/customers?limit=50", "search": "/api/v1/customers?q=an&limit=50",
             "one customer": f"/api/v1/customers/{first}"}  # fmt: skip
    rows = []
    for name, path in paths.items():
        taken = []
        for _ in range(100):
            begun = time.perf_counter()
            installed.get(path, client)
            taken.append((time.perf_counter() - begun) * 1000)
        taken.sort()
        rows.append({"measure": f"API: {name}", "p50_ms": round(statistics.median(taken), 1), "p99_ms": round(taken[98], 1)})
    return rows
