"""Log lines of the web process: the same as everywhere (`models.store.logs`)."""

from models.store.logs import log, set_up_logs

__all__ = ["log", "set_up_logs"]
