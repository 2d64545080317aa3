"""The targets that need a database of their own, with one: for `make fuzz`, where no fixture makes it."""

import contextlib
import shutil
import tempfile
from pathlib import Path

from models.migrations.run import migrate
from models.settings import AppSettings
from models.store.keys import Keyring, prepare_data_dir
from models.store.session import Database
from tests.fuzz.targets.endpoint import EndpointTarget
from tests.fuzz.targets.stored import StoredTarget
from tests.support.environment import COOKIE_KEY, ENCRYPTION_KEY
from tests.support.postgres import EmbeddedPostgres, find_bin_dir


class Beside:
    """A target and what stands beside it, ended together."""

    def __init__(self, name: str) -> None:
        self._stack = contextlib.ExitStack()
        try:
            self._target = self._made(name)
        except BaseException:
            self._stack.close()
            raise
        self.name, self.watched = self._target.name, self._target.watched
        self.run, self.settle = self._target.run, self._target.settle
        self.source = self._target.source

    def _made(self, name: str) -> StoredTarget | EndpointTarget:
        directory = Path(tempfile.mkdtemp(prefix="pivotal-fuzz-"))
        self._stack.callback(shutil.rmtree, directory, ignore_errors=True)
        url = f"sqlite:///{directory / 'pivotal.db'}"
        if name.endswith("postgres"):
            bin_dir = find_bin_dir()
            if bin_dir is None:
                raise SystemExit("error: no PostgreSQL on this machine")
            server = EmbeddedPostgres(bin_dir)
            self._stack.callback(server.stop)
            server.start()
            url = server.url("postgres").replace("postgresql://", "postgresql+psycopg://")
        settings = AppSettings(
            data_dir=directory, database_url=url, encryption_keys=ENCRYPTION_KEY, cookie_key=COOKIE_KEY, testing=True
        )
        prepare_data_dir(settings)
        database = Database(url)
        migrate(database)
        if name == "stored" or name.startswith("stored-"):
            return StoredTarget(database, settings, Keyring([ENCRYPTION_KEY]))
        database.dispose()
        return EndpointTarget(settings, Keyring([ENCRYPTION_KEY]), durable=False)

    def close(self) -> None:
        """End all of it."""
        self._target.close()
        self._stack.close()
