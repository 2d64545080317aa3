"""Log lines: one JSON object each, on standard error. Never a body, a header, a secret or an e-mail (FAULTS S22-S24).

JSON escapes CR, LF and every other control character, so a name from outside can't forge a line or colour a terminal.
"""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

log: Any = structlog.get_logger("pivotal")

_LEVELS = {"DEBUG": logging.DEBUG, "INFO": logging.INFO, "WARNING": logging.WARNING, "ERROR": logging.ERROR}


def _bounded(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Cut long values: a log line is no place for a payload, whoever put it there."""
    return {key: value[:500] + "…" if isinstance(value, str) and len(value) > 500 else value for key, value in event.items()}


class _StandardError:
    """Standard error as it is at the time of writing: tests and supervisors replace it."""

    def write(self, text: str) -> None:
        sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def set_up_logs(level: str = "INFO") -> None:
    """Configure structlog once per process."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _bounded,
            structlog.processors.JSONRenderer(ensure_ascii=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS.get(level, logging.INFO)),
        logger_factory=structlog.PrintLoggerFactory(file=_StandardError()),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,
    )
