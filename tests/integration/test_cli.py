"""The command line as a user types it: exit statuses, one-line errors, JSON, no secrets."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from models.settings import AppSettings
from models.store.access import load_token
from models.store.connections import (
    ConnectionRecord,
    load_api_key,
    load_connections,
    load_webhook_secrets,
    note_disconnected,
    record_permissions,
)
from models.store.inbox import NewEvent, insert_events
from models.store.keys import Keyring
from models.store.session import Database, session_scope
from tests.support import only_sqlite
from tests.support.environment import API_KEY, NOW, WEBHOOK_SECRET, environment
from webhook_app.cli import COMMANDS

ROOT = Path(__file__).parents[2]
NOBODY = "http://127.0.0.1:9"  # the discard port: nothing listens
SECRETS = {"STRIPE_API_KEY": API_KEY, "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET}


class Done:
    """How a command ended."""

    def __init__(self, settings: AppSettings, *arguments: str, given: str = "", **env: str) -> None:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "webhook_app", *arguments],
            env=environment(settings, **env), cwd=ROOT, input=given, capture_output=True, text=True, check=False,
        )  # fmt: skip
        self.status, self.out, self.err = done.returncode, done.stdout, done.stderr
        assert "Traceback" not in self.out + self.err
        for secret in (API_KEY, WEBHOOK_SECRET):
            assert secret not in self.out + self.err

    @property
    def json(self):
        return json.loads(self.out)

    def refused(self, reason: str) -> None:
        """One line on standard error, status 2, nothing else."""
        assert self.status == 2
        assert self.out == ""
        assert self.err.startswith("error: ")
        assert self.err.count("\n") == 1
        assert reason in self.err


@only_sqlite
@pytest.mark.parametrize(
    "command", [[], *[[name] for name in COMMANDS], ["tokens", "create"], ["users", "create"], ["events", "retry"]]
)
def test_every_command_helps(settings: AppSettings, command: list[str]) -> None:
    done = Done(settings, *command, "--help")
    assert done.status == 0
    assert done.out.startswith("Usage: python -m webhook_app")
    assert done.err == ""


@pytest.mark.parametrize("group", [[], ["customers"], ["events"], ["tokens"], ["users"]])
def test_without_a_command_its_help_is_shown_and_nothing_done(tmp_path: Path, group: list[str]) -> None:
    done = Done(AppSettings(data_dir=tmp_path / "data"), *group)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"Usage: {' '.join(['python -m webhook_app', *group])} [OPTIONS] COMMAND")
    assert "\nCommands:\n" in done.err
    assert "..." not in done.err.partition("Commands:")[2], "a line of help that is cut short"


def test_the_commands_are_those_of_the_table() -> None:
    import importlib

    import click

    for target, line in COMMANDS.values():
        module, _, name = target.partition(":")
        assert isinstance(getattr(importlib.import_module(module), name), click.Command)
        assert line.endswith(".")


@pytest.mark.fault("F89")
def test_commands_on_an_unmigrated_database_say_what_to_do(tmp_path: Path) -> None:
    settings = AppSettings(data_dir=tmp_path / "data")
    Done(settings, "events", "counts").refused("there is no database")
    assert not settings.data_dir.exists()
    assert Done(settings, "migrate").out == "the database is at migration 2026_11_22_initial\n"
    assert Done(settings, "migrate").status == 0
    assert sum(Done(settings, "events", "counts", "--json").json.values()) == 0


def test_a_database_that_is_away_is_told_in_one_line(tmp_path: Path) -> None:
    settings = AppSettings(data_dir=tmp_path, database_url="postgresql://nobody:geheim@127.0.0.1:9/x", encryption_keys="x")
    done = Done(settings, "migrate")
    done.refused("database: ")
    assert "OperationalError while migrating (PostgreSQL at 127.0.0.1:9)" in done.err
    assert "geheim" not in done.err
    assert "nobody" not in done.err
    Done(settings, "events", "counts").refused("OperationalError (PostgreSQL at 127.0.0.1:9)")


class TestConnect:
    """`connect`."""

    def test_it_stores_the_connection_prints_json_and_warns_when_stripe_is_away(
        self, settings: AppSettings, database: Database, keyring: Keyring
    ) -> None:
        done = Done(
            settings,
            "connect",
            "--name",
            "Acme",
            "--mode",
            "live",
            "--api-base",
            NOBODY,
            "--scope",
            "products:prod_1",
            **SECRETS,
        )
        assert done.status == 0
        assert done.err.startswith("warning: Stripe can't be asked now")
        with session_scope(database) as connection:
            (record,) = load_connections(connection)
            assert load_api_key(connection, keyring, record.id) == API_KEY
            assert load_webhook_secrets(connection, keyring, record.id, NOW) == (WEBHOOK_SECRET,)
        assert done.json == {
            "connection_id": record.id, "webhook_path": f"/webhooks/stripe/{record.public_id}", "name": "Acme", "mode": "live",
        }  # fmt: skip
        assert record.settings.scope.values == ("prod_1",)
        Done(settings, "connect", "--name", "B", "--mode", "live", "--api-base", NOBODY, **SECRETS).refused(
            "a live connection already"
        )

    @only_sqlite
    def test_secrets_come_from_standard_input(self, settings: AppSettings, database: Database, keyring: Keyring) -> None:
        words = ("connect", "--name", "A", "--mode", "live", "--api-key", "-", "--webhook-secret", "-", "--api-base", NOBODY)
        assert Done(settings, *words, given=f"{API_KEY}\n{WEBHOOK_SECRET}\n").status == 0
        with session_scope(database) as connection:
            assert load_api_key(connection, keyring, load_connections(connection)[0].id) == API_KEY

    @only_sqlite
    @pytest.mark.fault("S14")
    @pytest.mark.parametrize(
        ("key", "reason"),
        [
            ("pk_live_" + "a" * 9, "publishable"),
            ("sk_org_" + "a" * 9, "organisation"),
            ("sk_live_" + "a" * 9, "--allow-secret-key"),
            ("rk_test_" + "a" * 9, "test mode"),
            ("nonsense", "no Stripe key"),
            ("-", "no Stripe key"),
        ],
    )
    def test_a_key_that_is_refused_leaves_nothing(
        self, settings: AppSettings, database: Database, key: str, reason: str
    ) -> None:
        Done(settings, "connect", "--name", "A", "--mode", "live", "--api-key", key).refused(reason)
        with session_scope(database) as connection:
            assert load_connections(connection) == []

    @only_sqlite
    def test_what_is_missing_is_named(self, settings: AppSettings) -> None:
        Done(settings, "connect", "--name", "A", "--mode", "live").refused("STRIPE_API_KEY is not set")
        Done(settings, "connect", "--name", "A", "--mode", "live", STRIPE_API_KEY=API_KEY).refused(
            "STRIPE_WEBHOOK_SECRET is not set"
        )
        Done(settings, "connect", "--name", "A").refused("--mode")


class TestConnectReplace:
    """`connect --replace`."""

    NEW_KEY, NEW_SECRET = "rk_live_" + "another9876543210", "whsec_" + "another9876543210"

    def test_a_new_key_and_secret_replace_the_old_and_a_disconnected_one_is_active_again(
        self, settings: AppSettings, database: Database, keyring: Keyring
    ) -> None:
        first = Done(settings, "connect", "--name", "Acme", "--mode", "live", "--api-base", NOBODY, **SECRETS).json
        number = first["connection_id"]
        with session_scope(database, write=True) as connection:
            note_disconnected(connection, number, "Stripe refused the key (401).")
            record_permissions(connection, number, ["rak_product_read"])
        done = Done(
            settings, "connect", "--replace", str(number), "--api-key", "-", STRIPE_WEBHOOK_SECRET=self.NEW_SECRET,
            given=self.NEW_KEY,
        )  # fmt: skip
        assert (done.status, done.json) == (0, first)
        assert self.NEW_KEY not in done.out + done.err
        assert self.NEW_SECRET not in done.out + done.err
        with session_scope(database) as connection:
            (record,) = load_connections(connection)
            assert load_api_key(connection, keyring, number) == self.NEW_KEY
            now = int(time.time())
            assert load_webhook_secrets(connection, keyring, number, now) == (self.NEW_SECRET, WEBHOOK_SECRET)
            assert load_webhook_secrets(connection, keyring, number, now + 86_400) == (self.NEW_SECRET,)
        assert (record.state, record.state_reason, record.missing_permissions) == ("active", None, ())

    @only_sqlite
    def test_one_of_the_two_leaves_the_other_and_a_bad_one_leaves_both(
        self, settings: AppSettings, database: Database, keyring: Keyring, connection_record: ConnectionRecord
    ) -> None:
        words = ("connect", "--replace", str(connection_record.id))
        Done(settings, *words).refused("takes --api-key or --webhook-secret")
        Done(settings, *words, "--name", "B", **SECRETS).refused("name, mode, base and scope stay")
        Done(settings, "connect", "--replace", "99", **SECRETS).refused("there is no connection 99")
        Done(
            settings, *words, STRIPE_API_KEY="rk_test_" + "a" * 9, STRIPE_WEBHOOK_SECRET=self.NEW_SECRET
        ).refused("doesn't fit a connection of live mode")  # fmt: skip
        with session_scope(database) as connection:
            assert load_webhook_secrets(connection, keyring, connection_record.id, NOW) == (WEBHOOK_SECRET,)
            key = load_api_key(connection, keyring, connection_record.id)
        assert Done(settings, *words, STRIPE_WEBHOOK_SECRET=self.NEW_SECRET).err == ""
        with session_scope(database) as connection:
            assert load_api_key(connection, keyring, connection_record.id) == key
            assert load_webhook_secrets(connection, keyring, connection_record.id, NOW)[0] == self.NEW_SECRET


class TestCustomersImport:
    """`customers import`."""

    def test_good_rows_stay_and_bad_ones_are_named(self, settings: AppSettings, database: Database, tmp_path: Path) -> None:
        file = tmp_path / "customers.csv"
        file.write_text("name,domain,external_id\nAcme,acme.com,1\n,x.com,2\nBeta,no domain,3\nGamma,gamma.io,4\n")
        done = Done(settings, "customers", "import", str(file))
        assert done.status == 2
        assert done.out == "2 created, 0 updated, 0 unchanged, 2 bad\n"
        assert [line.split(": ")[0] for line in done.err.splitlines()] == [f"{file}:3", f"{file}:4"]
        file.write_text("name,domain,external_id\nAcme Inc,acme.com,1\nGamma,gamma.io,4\n")
        again = Done(settings, "customers", "import", str(file), "--json")
        assert (again.status, again.json) == (0, {"created": 0, "updated": 1, "unchanged": 1, "bad": 0})
        with session_scope(database) as connection:
            names = connection.exec_driver_sql("SELECT name FROM customers ORDER BY id").scalars().all()
        assert names == ["Acme Inc", "Gamma"]

    @only_sqlite
    def test_one_id_in_both_environments_stays_two_customers(self, settings: AppSettings) -> None:
        both = "name,external_id,environment\nAcme,1,\nAcme,1,staging\n"
        assert Done(settings, "customers", "import", "-", given=both).out.startswith("2 created")
        assert Done(settings, "customers", "import", "-", given=both).out.startswith("0 created, 0 updated, 2 unchanged")

    @only_sqlite
    def test_standard_input_and_files_that_are_not_there(self, settings: AppSettings) -> None:
        assert Done(settings, "customers", "import", "-", given="name\nAcme\n").out.startswith("1 created")
        Done(settings, "customers", "import", "/nowhere.csv").refused("/nowhere.csv: No such file or directory")
        Done(settings, "customers", "import", "-", given="domain\n").refused("no column `name`")


class TestAccess:
    """`tokens` and `users`."""

    def test_a_token_is_printed_once_and_works(self, settings: AppSettings, database: Database) -> None:
        done = Done(settings, "tokens", "create", "--role", "csm", "--name", "dashboard")
        assert done.status == 0
        token = done.out.strip()
        with session_scope(database) as connection:
            identity = load_token(connection, token)
            dump = str(connection.exec_driver_sql("SELECT * FROM api_tokens").all())
        assert identity is not None
        assert identity.role == "csm"
        assert token not in dump

    @only_sqlite
    def test_a_user_gets_a_link_and_a_new_one_when_it_is_lost(self, settings: AppSettings) -> None:
        words = ("users", "create", "--email", "dana@example.com", "--role", "admin")
        first = Done(settings, *words)
        assert first.out.startswith(f"{settings.address}/welcome/")
        Done(settings, *words).refused("a user with this address already")
        assert Done(settings, "users", "link", "--email", "DANA@example.com").out != first.out
        Done(settings, "users", "link", "--email", "no@example.com").refused("there is no user")
        Done(settings, "users", "create", "--email", "x@y.zz", "--role", "king").refused("king")


class TestEvents:
    """`events`."""

    @pytest.fixture
    def stored(self, database: Database, connection_record: ConnectionRecord) -> None:
        """One event of some states."""
        with session_scope(database, write=True) as connection:
            rows = [
                NewEvent(connection_record.id, f"evt_{status}", "invoice.paid", None, True, NOW, "invoice", "in_1", "cus_1", 0,
                         NOW * 1000, NOW * 1000, b'{"secret": "body"}', status, None if status == "pending" else "why")
                for status in ("pending", "dead", "quarantined")
            ]  # fmt: skip
            insert_events(connection, rows)

    @pytest.mark.usefixtures("stored")
    def test_they_are_listed_counted_and_brought_back(self, settings: AppSettings) -> None:
        assert [event["event_id"] for event in Done(settings, "events", "list", "--json").json] == [
            "evt_quarantined",
            "evt_dead",
            "evt_pending",
        ]
        dead = Done(settings, "events", "list", "--status", "dead")
        assert dead.out.split() == ["2026-05-28", "20:26:40", "dead", "evt_dead", "invoice.paid", "in_1", "why"]
        assert Done(settings, "events", "retry", "--all").out == "1 event pending again\n"
        counted = Done(settings, "events", "counts", "--json").json
        assert counted == {"pending": 2, "applied": 0, "superseded": 0, "ignored": 0, "quarantined": 1, "dead": 0}
        assert Done(settings, "events", "retry", "--id", "evt_quarantined", "--status", "quarantined").status == 0
        Done(settings, "events", "retry", "--id", "evt_nowhere").refused("there is no dead event evt_nowhere")
        Done(settings, "events", "retry").refused("takes --id EVT or --all")

    @only_sqlite
    @pytest.mark.usefixtures("stored")
    def test_of_several_ids_those_that_are_there_come_back_and_the_others_are_named(self, settings: AppSettings) -> None:
        done = Done(settings, "events", "retry", "--id", "evt_a", "--id", "evt_dead", "--id", "evt_b", "--id", "evt_a")
        assert (done.status, done.out) == (2, "1 event pending again\n")
        assert done.err == "error: there is no dead event evt_a, evt_b\n"
        assert Done(settings, "events", "counts", "--json").json["pending"] == 2

    @only_sqlite
    @pytest.mark.usefixtures("stored")
    def test_an_event_whose_body_was_cut_is_left_out_and_told(self, settings: AppSettings, database: Database) -> None:
        with session_scope(database, write=True) as connection:
            connection.exec_driver_sql("UPDATE inbox SET body = NULL WHERE status = 'dead'")
        done = Done(settings, "events", "retry", "--all")
        assert (done.status, done.out) == (0, "0 events pending again\n")
        assert done.err.startswith("warning: 1 event is left out")
        assert Done(settings, "events", "counts", "--json").json["dead"] == 1


def test_explain_needs_no_configuration_and_imports_no_framework(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom webhook_app.cli import main\nstatus = main(['explain', '/nowhere.json'])\n"
        "heavy = {'flask', 'sqlalchemy', 'redis', 'rq', 'pydantic', 'stripe'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else status)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PORT": "nonsense", "DATABASE_URL": "nonsense"}
    done = subprocess.run([sys.executable, "-c", program], env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@only_sqlite
def test_a_fault_of_ours_is_one_line_and_a_closed_pipe_none(settings: AppSettings, database: Database) -> None:
    with session_scope(database, write=True) as connection:
        connection.exec_driver_sql("DROP TABLE inbox")
    done = Done(settings, "events", "counts")
    assert done.status in {1, 2}
    assert done.err.count("\n") == 1
    process = subprocess.Popen(
        [sys.executable, "-m", "webhook_app", "--help"],
        env=environment(settings),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate()
    assert b"Traceback" not in err
