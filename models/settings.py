"""The only reader of the environment. Everything else takes a `Settings` (here `AppSettings`) as an argument."""

import os
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.errors import SettingsError

PINNED_API_VERSION = "2026-10-28.endive"
STRIPE_API_BASE = "https://api.stripe.com"


class AppSettings(BaseSettings):
    """Settings of one process, from the environment (names in capitals, no prefix). Units stand in the names."""

    model_config = SettingsConfigDict(env_prefix="", extra="ignore", frozen=True, env_ignore_empty=True)

    data_dir: Path = Path("var")
    database_url: SecretStr | None = None
    redis_url: SecretStr | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    workers: int = Field(default=1, ge=0, le=64, description="RQ workers that drain the inbox")
    web_processes: int = Field(default=2, ge=1, le=64)
    web_threads: int = Field(default=16, ge=1, le=256)
    partitions: int | None = Field(default=None, ge=1, le=256)
    encryption_keys: SecretStr | None = None
    cookie_key: SecretStr | None = None
    allowed_hosts: str = ""
    trusted_proxies: int = Field(default=0, ge=0, le=10)
    https: bool = False
    log_level: str = "INFO"
    admin_email: str = Field(default="admin@example.com", description="who the first one-time link of `make run` is for")
    fx_refresh: bool = Field(default=False, description="fetch the ECB's rates over the network")
    fx_daily: bool = Field(default=False, description="put new rates in force at once, not on the 1st of the month")
    sweep_s: int = Field(default=15, ge=1, le=60, description="how often the clock rings for what was forgotten")
    lease_ms: int = Field(default=30_000, ge=1_000, le=60_000, description="how long a silent worker keeps partitions")
    hold_ms: int = Field(default=60_000, ge=1_000, le=300_000, description="how long an event waits for its worker's read")
    live_calls_per_second: float = Field(default=40.0, gt=0)
    live_calls_per_second_per_endpoint: float = Field(default=15.0, gt=0)
    test_calls_per_second: float = Field(default=15.0, gt=0)
    test_calls_per_second_per_endpoint: float = Field(default=8.0, gt=0)
    testing: bool = False

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        level = value.upper()
        if level not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
            raise ValueError("is one of DEBUG, INFO, WARNING, ERROR")
        return level

    @field_validator("redis_url")
    @classmethod
    def _locked_redis(cls, value: SecretStr | None) -> SecretStr | None:
        """Who can write to Redis can make workers work: a socket, loopback, or a password (FAULTS S26)."""
        parts = urlsplit(value.get_secret_value() if value else "unix://")
        if parts.scheme not in {"unix", "redis", "rediss"}:
            raise ValueError("takes redis://, rediss:// or unix://")
        if parts.scheme != "unix" and not parts.password and parts.hostname not in {"127.0.0.1", "localhost", "::1"}:
            raise ValueError("needs a password for a Redis on another machine")
        return value

    @cached_property
    def database(self) -> str:
        """The SQLAlchemy URL: `DATABASE_URL`, else SQLite in `DATA_DIR`. `postgres://` is read as psycopg 3."""
        if self.database_url is None:
            return f"sqlite:///{self.data_dir.resolve() / 'pivotal.db'}"
        url = self.database_url.get_secret_value()
        for old in ("postgres://", "postgresql://"):
            if url.startswith(old):
                return "postgresql+psycopg://" + url.removeprefix(old)
        return url

    @property
    def embedded_database(self) -> bool:
        """Whether we own the database file (SQLite in `DATA_DIR`)."""
        return self.database_url is None

    @property
    def on_sqlite(self) -> bool:
        """Whether the database is SQLite."""
        return self.database.startswith("sqlite")

    @property
    def partition_count(self) -> int:
        """Partitions of the inbox (DESIGN 1): `PARTITIONS`, else 8, but 1 on SQLite with one worker."""
        return self.partitions or (1 if self.on_sqlite and self.workers <= 1 else 8)

    @cached_property
    def run_dir(self) -> Path:
        """Short private directory for sockets (a Unix socket's path is limited to about 100 bytes)."""
        directory = self.data_dir.resolve() / "run"
        if len(str(directory)) <= 80:
            return directory
        import hashlib
        import tempfile

        digest = hashlib.sha256(str(directory).encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"pivotal-{os.getuid()}-{digest}"

    def as_environment(self) -> dict[str, str]:
        """The variables with which a child process has these settings. Holds secrets: never print it."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        given["data_dir"] = self.data_dir.resolve()
        plain = {name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in given.items()}
        return {name.upper(): str(value) for name, value in plain.items() if value is not None}

    @property
    def address(self) -> str:
        """Where a browser finds us: the first of `ALLOWED_HOSTS` behind https, else the host and port we listen on."""
        first = self.allowed_hosts.split(",")[0].strip()
        if self.https and first:
            return f"https://{first}"
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104  # compared, not bound
        return f"{'https' if self.https else 'http'}://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def redis(self) -> str:
        """Redis URL: `REDIS_URL`, else the embedded Valkey's Unix socket."""
        if self.redis_url is not None:
            return self.redis_url.get_secret_value()
        return f"unix://{self.run_dir / 'valkey.sock'}"


def load_settings(**overrides: object) -> AppSettings:
    """Settings from the environment, `overrides` first.

    Raises:
        SettingsError: one line that names the variable and what it takes.
    """
    try:
        return AppSettings(**overrides)  # type: ignore[arg-type]  # pydantic checks them
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).upper() if first["loc"] else "settings"
        raise SettingsError(f"{name}: {first['msg'].removeprefix('Value error, ')}") from None
