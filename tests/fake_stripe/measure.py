"""What the fake itself costs: `python -m tests.fake_stripe.measure [--objects N] [--latency S]`.

Starts `python -m tests.fake_stripe` as a process of its own, walks it completely over HTTP as a backfill reads it, and prints
one JSON line: seconds and memory until it answers, objects a second by list (and by second of its CPU), memory at the end.
"""

import argparse
import http.client
import json
import os
import re
import subprocess
import sys
import time
from typing import Any
from urllib.parse import urlencode

import msgspec
import psutil

from tests.fake_stripe.versions import PINNED

LISTS: dict[str, dict[str, Any]] = {
    "customers": {},
    "subscriptions": {
        "status": "all",
        "expand[]": ["data.latest_invoice", "data.discounts.source.coupon", "data.items.data.discounts"],
    },
    "invoices": {},
    "invoice_payments": {"status": "open", "expand[]": "data.payment.payment_intent"},
}


class Page(msgspec.Struct):
    """Of a page, what a walk needs."""

    data: list["Row"]
    has_more: bool


class Row(msgspec.Struct):
    """An object's id."""

    id: str


_DECODE = msgspec.json.Decoder(Page).decode


def walk(client: http.client.HTTPConnection, key: str, kind: str) -> tuple[int, int]:
    """Objects and bytes of a whole list."""
    objects = size = 0
    last = None
    while True:
        asked = LISTS[kind] | {"limit": 100} | ({} if last is None else {"starting_after": last})
        headers = {"Authorization": f"Bearer {key}", "Stripe-Version": PINNED}
        client.request("GET", f"/v1/{kind}?{urlencode(asked, doseq=True)}", headers=headers)
        body = client.getresponse().read()
        page = _DECODE(body)
        objects, size = objects + len(page.data), size + len(body)
        if not page.has_more:
            return objects, size
        last = page.data[-1].id


def measure(objects: int, latency: float) -> dict[str, Any]:
    """One process, one walk."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "tests.fake_stripe", "--port", "0", "--objects", str(objects), "--latency", str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as fake:
        try:
            assert fake.stdout is not None
            told = json.loads(fake.stdout.readline())
            process = psutil.Process(fake.pid)
            found = {"objects": objects, "start_s": round(time.perf_counter() - began, 2), "start_mb": memory(process)}
            found |= walks(told, process)
            found |= {"end_mb": memory(process), "load": os.getloadavg()}
        finally:
            fake.terminate()
    return found


def walks(told: dict[str, Any], process: psutil.Process) -> dict[str, Any]:
    """All lists, one after the other on one connection."""
    host, port = re.fullmatch(r"http://(.*):(\d+)", told["url"]).groups()
    client = http.client.HTTPConnection(host, int(port), timeout=60)
    found: dict[str, Any] = {}
    total = seconds = 0.0
    for kind in LISTS:
        began, cpu = time.perf_counter(), sum(process.cpu_times()[:2])
        objects, size = walk(client, told["api_key"], kind)
        took, spent = time.perf_counter() - began, sum(process.cpu_times()[:2]) - cpu
        found[kind] = {"objects": objects, "mb": size >> 20, "s": round(took, 2), "per_s": round(objects / took),
                       "per_cpu_s": round(objects / max(spent, 0.01))}  # fmt: skip
        total, seconds = total + objects, seconds + took
    client.close()
    return found | {"whole_walk_s": round(seconds, 1), "per_s": round(total / seconds)}


def memory(process: psutil.Process) -> int:
    """Resident megabytes."""
    return process.memory_info().rss >> 20


def main() -> int:
    """Run it."""
    options = argparse.ArgumentParser(prog="python -m tests.fake_stripe.measure", description=__doc__)
    options.add_argument("--objects", type=int, default=250_000)
    options.add_argument("--latency", type=float, default=0.0)
    chosen = options.parse_args()
    print(json.dumps(measure(chosen.objects, chosen.latency)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
