"""gunicorn's settings: `gunicorn -c webhook_app/gunicorn_conf.py "webhook_app:create_app()"` (FAULTS 6, STACK.md)."""

import gc
import sys
from typing import Any

from models.settings import load_settings

_settings = load_settings()

wsgi_app = "webhook_app:create_app()"
bind = f"[{_settings.host}]:{_settings.port}" if ":" in _settings.host else f"{_settings.host}:{_settings.port}"
workers = _settings.web_processes
threads = _settings.web_threads
worker_class = "webhook_app.gunicorn_worker.WholeRequestWorker"
preload_app = True  # imported once: a killed process is back in milliseconds; nothing is connected or started before the fork
worker_connections = 1000  # per process; `gunicorn_worker` makes room when they run out
backlog = 2048
keepalive = 75  # longer than proxies keep theirs (usually 60 s), so that they never send into a closing one
timeout = 30
graceful_timeout = 8  # `make run` promises 10 s for everything
max_requests = 500_000  # a leak in any library ends here; the jitter keeps the processes from ending together
max_requests_jitter = 100_000
limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190
forwarder_headers = ""  # SCRIPT_NAME and PATH_INFO come from no proxy of ours; one that doesn't fit the path would be a 500
forwarded_allow_ips = ""  # nor is gunicorn to believe a scheme: that is for TRUSTED_PROXIES and HTTPS=1 to say (FAULTS S49)
secure_scheme_headers: dict[str, str] = {}
control_socket_disable = True  # it would open one under $HOME
accesslog = None
loglevel = "warning"
proc_name = "pivotal-web"


def pre_fork(_server: Any, _worker: Any) -> None:
    """What was imported is never garbage: not walked by the collector (its pauses are our p99), so its pages stay shared."""
    gc.freeze()


def post_worker_init(worker: Any) -> None:
    """Know the connections and the bell before the first request asks for them. The thread that commits holds the write lock
    while it waits for the interpreter: 1 ms at most, not 5."""
    sys.setswitchinterval(0.001)
    from webhook_app.receive import WAKE, at_once
    from webhook_app.services import services, warm_up

    worker.answers_at_once(at_once(services(worker.wsgi)), WAKE)
    warm_up(worker.wsgi)
