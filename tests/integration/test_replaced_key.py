"""A worker that still holds the key before: the stored one decides."""

from typing import Any

import pytest

from models.errors import StripeKeyRefused
from models.settings import AppSettings
from models.store.connections import ConnectionRecord
from models.store.keys import Keyring
from models.store.session import Database
from tests.support import only_sqlite
from workers import stripe_api
from workers.reading import Readers, Want
from workers.stripe_objects import Read


class Api:
    """Stripe, as one key sees it."""

    def __init__(self, key: str, good: str) -> None:
        self._key, self._good, self.missing = key, good, set[str]()

    def fetch(self, *_what: str) -> Read:
        if self._key != self._good:
            raise StripeKeyRefused("401")
        return Read({"id": "sub_1"}, 0, 0)

    def close(self) -> None:
        """Nothing is open."""


@only_sqlite
def test_a_key_replaced_under_a_running_worker_disconnects_nothing(
    database: Database,
    keyring: Keyring,
    settings: AppSettings,
    connection_record: ConnectionRecord,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state = {"stored": "old", "good": "old", "opened": 0}

    def open_api(*_: Any, **__: Any) -> Api:
        state["opened"] += 1  # type: ignore[operator]
        return Api(str(state["stored"]), str(state["good"]))

    monkeypatch.setattr(stripe_api, "open_api", open_api)
    readers = Readers(database, keyring, settings, threads=1)

    def ask() -> Any:
        readers.want(Want(connection_record.id, ("subscription", "sub_1")))
        (answer,) = readers.answers(wait_s=10)
        return answer

    assert ask().error is None
    readers._apis[connection_record.id]._good = "new"  # type: ignore[attr-defined]  # revoked at Stripe
    state["good"] = "new"
    assert isinstance(ask().error, StripeKeyRefused)
    state["stored"] = "new"  # connect --replace
    assert ask().error is None
    assert state["opened"] == 3
    readers.close()
