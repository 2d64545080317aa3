"""The client: signed events over raw keep-alive connections, in a process of its own, away from our interpreter."""

import asyncio
import hashlib
import hmac
import multiprocessing
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Outcome:
    """What a load found. Latencies in milliseconds: request written to answer read, or from its scheduled time at a rate."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    errors: int = 0

    @property
    def per_second(self) -> float:
        return self.statuses.get(200, 0) / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")

    def row(self) -> dict[str, Any]:
        return {
            "per_second": round(self.per_second), "p50_ms": round(self.percentile(0.5), 1),
            "p99_ms": round(self.percentile(0.99), 1), "not_2xx": sum(self.statuses.values()) - self.statuses.get(200, 0),
            "errors": self.errors,
        }  # fmt: skip


def send(url: str, secret: str, bodies: list[bytes], connections: int, rate: float = 0.0) -> Outcome:
    """Send all bodies once, over so many connections, as fast as they are answered or at `rate` a second."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    client = context.Process(target=_client, args=(theirs, url, secret, bodies, connections, rate))
    client.start()
    theirs.close()
    try:
        return ours.recv()
    finally:
        client.join()


def _client(pipe: Any, url: str, secret: str, bodies: list[bytes], connections: int, rate: float) -> None:
    pipe.send(asyncio.run(_send_all(url, secret, bodies, connections, rate)))


async def _send_all(url: str, secret: str, bodies: list[bytes], connections: int, rate: float) -> Outcome:
    outcome, numbered = Outcome(), iter(enumerate(bodies))
    started = time.perf_counter()
    await asyncio.gather(*(_connection(url, secret, numbered, outcome, started, rate) for _ in range(connections)))
    outcome.seconds = time.perf_counter() - started
    return outcome


async def _connection(url: str, secret: str, numbered: Any, outcome: Outcome, started: float, rate: float) -> None:
    parts = urlsplit(url)
    head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json; charset=utf-8\r\n".encode()
    reader = writer = None
    for number, body in numbered:
        scheduled = started + number / rate if rate else 0.0
        if (pause := scheduled - time.perf_counter()) > 0:
            await asyncio.sleep(pause)
        try:
            if writer is None:
                reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            begun = scheduled or time.perf_counter()
            moment = str(int(time.time())).encode()
            mark = hmac.new(secret.encode(), moment + b"." + body, hashlib.sha256).hexdigest().encode()
            signature = b"Stripe-Signature: t=" + moment + b",v1=" + mark
            writer.write(head + signature + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            lower = answer.lower()
            if b"content-length:" in lower:
                await reader.readexactly(int(lower.split(b"content-length:")[1].split(b"\r\n")[0]))
            outcome.latencies.append((time.perf_counter() - begun) * 1000)
            status = int(answer[9:12])
            outcome.statuses[status] = outcome.statuses.get(status, 0) + 1
            if b"connection: close" in lower:
                writer.close()
                writer = None
        except (OSError, asyncio.IncompleteReadError):
            outcome.errors += 1
            writer = None
    if writer is not None:
        writer.close()
