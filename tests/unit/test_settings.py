"""Settings: read from the environment, refused with the variable's name and never its value."""

from pathlib import Path

import pytest

from models.errors import SettingsError
from models.settings import AppSettings, load_settings


@pytest.mark.fault("S26")
@pytest.mark.parametrize(
    "url",
    [
        "redis://10.1.2.3:6379",
        "redis://redis.internal/0",
        "rediss://user@redis.internal",
        "http://127.0.0.1",
        "redis.internal:6379",
    ],
)
def test_a_redis_that_anybody_may_write_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    with pytest.raises(SettingsError, match=r"^REDIS_URL: ") as caught:
        load_settings()
    assert url not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["redis://127.0.0.1:6379/0", "unix:///run/redis.sock", "rediss://:secret@redis.internal", "redis://localhost"]
)
def test_a_redis_behind_a_door_is_taken(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    assert load_settings().redis == url


@pytest.mark.parametrize(
    ("name", "value"), [("PORT", "0"), ("PORT", "x"), ("WORKERS", "-1"), ("LOG_LEVEL", "loud"), ("PARTITIONS", "0")]
)
def test_a_wrong_setting_is_named_in_one_line(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name}: ") as caught:
        load_settings()
    assert "\n" not in str(caught.value)


def test_a_child_process_gets_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    given = AppSettings(data_dir=Path("here"), port=9000, encryption_keys="a-key", web_processes=1)
    for name, value in given.as_environment().items():
        monkeypatch.setenv(name, value)
    got = load_settings()
    assert (got.data_dir, got.port, got.web_processes) == (Path("here").resolve(), 9000, 1)
    assert got.encryption_keys is not None
    assert got.encryption_keys.get_secret_value() == "a-key"
    assert "a-key" not in repr(got)


def test_the_socket_path_stays_short_in_a_deep_directory(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 90)
    assert len(AppSettings(data_dir=deep).redis.removeprefix("unix://")) < 100
    assert AppSettings(data_dir=deep).run_dir != AppSettings(data_dir=deep / "other").run_dir


@pytest.mark.parametrize(
    ("values", "address"),
    [
        ({}, "http://127.0.0.1:8000"),
        ({"host": "0.0.0.0", "port": 80}, "http://127.0.0.1:80"),
        ({"host": "::1"}, "http://[::1]:8000"),
        ({"https": True, "allowed_hosts": "pivotal.example.com, other.example.com"}, "https://pivotal.example.com"),
    ],
)
def test_the_address_that_is_printed_can_be_opened(values: dict[str, object], address: str) -> None:
    assert AppSettings(**values).address == address  # type: ignore[arg-type]
