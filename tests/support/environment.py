"""Settings and keys of the tests, and how a process we start gets them."""

import os
from pathlib import Path

from models.settings import AppSettings

ENCRYPTION_KEY = "cGl2b3RhbC10ZXN0LWVuY3J5cHRpb24ta2V5LTMyYnk="
COOKIE_KEY = "pivotal-test-cookie-key-of-more-than-32-characters"
WEBHOOK_SECRET = "whsec_" + "pivotaltestsecret0123456789"
API_KEY = "rk_live_" + "pivotaltestkey0123456789"
NOW = 1_780_000_000  # 2026-05-28, where a test has no reason for another


def environment(settings: AppSettings, **more: str) -> dict[str, str]:
    """The environment of a child process that works with `settings`; nothing of ours leaks in from outside."""
    ours = {name.upper() for name in AppSettings.model_fields}
    env = {key: value for key, value in os.environ.items() if key not in ours}
    env |= settings.as_environment()
    env["TESTING"] = "1"
    env["PYTHONPATH"] = str(Path(__file__).parents[2])
    return env | more
