"""Health as strangers and friends hear it, and errors that tell nothing they shouldn't."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from models.errors import BadInput, Conflict, DatabaseAway, NotFound, Refused, StripeUnreachable
from models.settings import AppSettings
from models.store.access import create_token
from models.store.connections import ConnectionRecord
from models.store.session import Database, session_scope
from tests.support import only_sqlite
from webhook_app import create_app


@pytest.fixture
def app(settings: AppSettings, connection_record: ConnectionRecord) -> Iterator[Flask]:
    made = create_app(settings)
    yield made
    made.extensions["pivotal"].database.dispose()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


STRANGER = {"X-Forwarded-For": "203.0.113.9"}


@pytest.mark.fault("S53", "F85")
def test_readiness_tells_strangers_ok_and_this_machine_everything(client: FlaskClient) -> None:
    assert client.get("/healthz").data == b"ok\n"
    assert client.get("/readyz", headers=STRANGER).data == b"ok\n"
    found = client.get("/readyz").json
    assert found is not None
    assert (found["ready"], found["database"], found["redis"], found["pending"], found["dead"]) == (True, "ok", "ok", 0, 0)
    assert found["oldest_pending_s"] is None
    assert found["workers"] == 0
    assert found["schema"]


@only_sqlite
@pytest.mark.fault("S53")
def test_a_token_opens_the_detail_from_anywhere(client: FlaskClient, database: Database) -> None:
    with session_scope(database, write=True) as connection:
        token = create_token(connection, "csm", "probe", 1_780_000_000)
    assert client.get("/readyz", headers=STRANGER | {"Authorization": "Bearer wrong"}).data == b"ok\n"
    found = client.get("/readyz", headers=STRANGER | {"Authorization": f"Bearer {token}"}).json
    assert found is not None
    assert found["ready"] is True


@pytest.mark.fault("F89", "F85")
def test_a_schema_that_is_not_ours_is_not_ready_and_says_why(client: FlaskClient, database: Database) -> None:
    with session_scope(database, write=True) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '2020_01_01_old'"))
    assert client.get("/readyz", headers=STRANGER).data == b"not ready\n"
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json is not None
    assert "migrate" in answer.json["schema_problem"]
    assert client.get("/healthz").status_code == 200


@only_sqlite
@pytest.mark.fault("F51", "F85")
def test_without_redis_it_is_ready_and_says_that_redis_is_away(
    settings: AppSettings, connection_record: ConnectionRecord
) -> None:
    app = create_app(settings.model_copy(update={"redis_url": None}))
    found = app.test_client().get("/readyz")
    assert found.status_code == 200
    assert found.json is not None
    assert (found.json["redis"], found.json["workers"]) == ("away", None)
    app.extensions["pivotal"].database.dispose()


@only_sqlite
@pytest.mark.fault("F38", "F85")
def test_without_a_database_it_starts_all_the_same_and_is_not_ready(settings: AppSettings, tmp_path: Path) -> None:
    gone = settings.model_copy(update={"data_dir": tmp_path / "nowhere"})
    gone.__dict__.pop("database", None)
    (tmp_path / "nowhere").mkdir(mode=0o700)
    app = create_app(gone)
    client = app.test_client()
    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200
    assert client.post("/webhooks/stripe/x", data=b"{}").status_code in (400, 503)
    app.extensions["pivotal"].database.dispose()


@only_sqlite
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadInput("name: too long"), 422), (NotFound("there is no such customer"), 404), (Refused("one is running"), 409),
        (Conflict("newer"), 409), (DatabaseAway("database: gone"), 503), (StripeUnreachable("no answer"), 502),
    ],
)  # fmt: skip
def test_our_errors_become_problem_documents_with_their_one_line(app: Flask, error: Exception, status: int) -> None:
    def fail() -> str:
        raise error

    app.add_url_rule("/api/v1/fails", view_func=fail)
    answer = app.test_client().get("/api/v1/fails")
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    assert answer.json is not None
    assert (answer.json["status"], answer.json["detail"]) == (status, str(error))
    assert ("Retry-After" in answer.headers) is (status == 503)


@only_sqlite
@pytest.mark.fault("S52", "S23")
@pytest.mark.parametrize("path", ["/api/v1/breaks", "/breaks"])
def test_an_error_nobody_foresaw_is_a_500_with_an_id_and_neither_answer_nor_log_quote_it(
    app: Flask, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> str:
        raise ValueError("canary@example.com whsec_canary")

    app.add_url_rule(path, view_func=fail)
    answer = app.test_client().get(path)
    assert answer.status_code == 500
    logged = capsys.readouterr().err
    assert "canary" not in answer.text + logged
    assert '"kind": "ValueError"' in logged
    error_id = logged.partition('"error_id": "')[2][:12]
    assert error_id in answer.text


@only_sqlite
def test_unknown_paths_and_methods_are_answered_in_the_askers_language(client: FlaskClient) -> None:
    assert client.get("/api/v1/nothing").content_type == "application/problem+json"
    assert client.get("/nothing", headers={"Accept": "application/json"}).content_type == "application/problem+json"
    refused = client.delete("/healthz")
    assert refused.status_code in (403, 405)
