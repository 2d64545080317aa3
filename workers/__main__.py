"""`python -m workers worker | long | clock`: the processes that work beside the web."""

import gc
import os
import signal
import sys
import threading

from models.errors import PivotalError
from models.settings import AppSettings, load_settings
from models.store.logs import set_up_logs
from workers.queue import BELL_QUEUE, LONG_QUEUE, WORKER_TTL_S

USAGE = "usage: python -m workers worker | long | clock"


def main(arguments: list[str]) -> int:
    """Run one process until it is told to stop; 2 with one line when it can't start."""
    if len(arguments) != 1 or arguments[0] not in {"worker", "long", "clock"}:
        print(USAGE, file=sys.stderr)
        return 2
    os.environ["TZ"] = "UTC"  # RQ 3 reads cron strings and stamps in local time
    try:
        settings = load_settings()
        set_up_logs(settings.log_level)
        if arguments[0] == "clock":
            return run_clock()
        return run_worker(settings, LONG_QUEUE if arguments[0] == "long" else BELL_QUEUE)
    except PivotalError as error:
        print(error, file=sys.stderr)
        return 2


def run_worker(settings: AppSettings, queue_name: str) -> int:
    """An RQ worker of one queue. The bell's is a `SimpleWorker` (no fork per job); the long one forks, so that memory goes
    back when a backfill ends. A worker that starts rings for what is waiting: its predecessor may have been killed."""
    from rq import Queue, SimpleWorker, Worker
    from rq.serializers import JSONSerializer

    from workers.queue import connect

    connection = connect(settings.redis, answer_s=15.0)
    queue = Queue(queue_name, connection=connection, serializer=JSONSerializer)
    kind = SimpleWorker if queue_name == BELL_QUEUE else Worker
    worker = kind(
        [queue], connection=connection, serializer=JSONSerializer, maintenance_interval=30, job_monitoring_interval=5,
        worker_ttl=WORKER_TTL_S,
    )  # fmt: skip
    if queue_name == BELL_QUEUE:
        _ring_for_what_waits()
    calm_collector()
    worker.work(logging_level="WARNING")
    return 0


def calm_collector() -> None:
    """Let the cycle collector look seldom, and never again at what is imported: a batch makes tens of thousands of short-lived
    values, none of them in cycles, and looking at them all took a third of a drain's time (2,809 against 1,845 events per
    CPU second)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _ring_for_what_waits() -> None:
    from workers.jobs import tools
    from workers.schedule import sweep

    try:
        sweep(tools())
    except PivotalError as error:
        print(error, file=sys.stderr)


def run_clock() -> int:
    """The clock, until SIGTERM or Ctrl-C."""
    from workers.jobs import tools
    from workers.schedule import Clock

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    Clock(tools()).run(stop)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
