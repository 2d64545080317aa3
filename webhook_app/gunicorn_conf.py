"""gunicorn's settings: `gunicorn -c webhook_app/gunicorn_conf.py "webhook_app:create_app()"` (FAULTS 6, STACK.md)."""

from models.settings import load_settings

_settings = load_settings()

wsgi_app = "webhook_app:create_app()"
bind = f"{_settings.host}:{_settings.port}"
workers = _settings.web_processes
threads = _settings.web_threads
worker_class = "webhook_app.gunicorn_worker.WholeRequestWorker"
timeout = 30
graceful_timeout = 8
keepalive = 75
max_requests = 500_000
max_requests_jitter = 100_000
backlog = 2048
worker_connections = 1000
control_socket_disable = True
accesslog = None
loglevel = "warning"
proc_name = "pivotal-web"
