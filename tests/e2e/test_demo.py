"""`make demo` in small: everything starts, Stripe is read in, life goes on, and in the end every customer reads exactly what
the rules say over Stripe's current objects."""

import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from models.store.fx import date_in_force, load_table
from models.store.session import Database
from tests.fake_stripe.demo import ROOT, Demo, free_port
from webhook_app.explain import explain

FIELDS = ("plan", "plan_label", "mrr", "payment_status", "billing_started_at", "stripe_customer_id", "headline")
FIRST_PORT = 18_000 + os.getpid() % 10_000  # another run of these tests on this machine begins elsewhere
pytestmark = pytest.mark.timeout(170)


def customers(demo: Demo, token: str) -> list[dict]:
    """All pages of GET /api/v1/customers."""
    rows: list[dict] = []
    cursor = ""
    while True:
        request = urllib.request.Request(
            f"{demo.address}/api/v1/customers?limit=100{cursor}", headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            page = json.load(answer)
        rows += page["data"]
        if not page["next_cursor"]:
            return rows
        cursor = f"&cursor={page['next_cursor']}"


def expected(demo: Demo) -> dict[str, dict]:
    """What the rules say of each customer of ours, by `external_id`."""
    with (demo.directory / "customers.csv").open(newline="", encoding="utf-8") as file:
        ours = [
            {"id": row["external_id"], "name": row["name"], "domain": row["domain"], "aliases": row["aliases"].split()}
            for row in csv.DictReader(file)
        ]
    database = Database(f"sqlite:///{demo.directory / 'pivotal.db'}")
    try:
        with database.engine.connect() as connection:
            table = load_table(connection, date_in_force(connection))
    finally:
        database.dispose()
    fx = {"date": table.date, "usd_per": {currency: str(rate) for currency, rate in table.usd_per.items()}}
    document = {"now": demo.fake.clock.now(), "our_customers": ours, "fx": fx, **demo.fake.current_objects()}
    return {customer["id"]: customer for customer in explain(document)["customers"]}


def drained(demo: Demo) -> bool:
    """No event waits any more."""
    return json.loads(demo.command("events", "counts", "--json", quiet=True))["pending"] == 0


@pytest.mark.fault("I3", "I8")
def test_the_demo_ends_with_every_figure_as_the_rules_say_over_stripes_objects(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    demo = Demo(tmp_path / "demo", free_port(FIRST_PORT), pace_s=0.02, ticks=60)
    try:
        demo.run()
        end = time.monotonic() + 60
        while not drained(demo):
            assert time.monotonic() < end, "events are left over"
        found = customers(demo, demo.command("tokens", "create", "--role", "csm", quiet=True).strip())
        said = expected(demo)
    finally:
        demo.stop()
    assert len(found) == 300
    differing = [
        (customer["name"], field, customer[field], said[customer["external_id"]][field])
        for customer in found
        for field in FIELDS
        if customer[field] != said[customer["external_id"]][field]
    ]
    assert differing == []
    shown = capfd.readouterr().out
    assert "backfill complete" in shown
    assert "First admin: set a password" in shown
    assert "to be sent again" not in shown
    assert demo.fake.api_key not in shown
    log = (demo.directory / "pivotal.log").read_text()
    assert demo.fake.api_key not in log
    assert "@" not in log
    with sqlite3.connect(demo.directory / "pivotal.db") as database:
        assert database.execute("SELECT count(*) FROM inbox WHERE status IN ('dead', 'quarantined')").fetchone() == (0,)
    database.close()


def test_ctrl_c_ends_the_demo_and_everything_it_started_even_where_a_script_left_it_ignored(tmp_path: Path) -> None:
    env = {**os.environ, "DATA_DIR": str(tmp_path / "demo"), "PORT": str(free_port(FIRST_PORT)), "PYTHONUNBUFFERED": "1"}
    demo = subprocess.Popen(
        ["/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-m", "tests.fake_stripe.demo", "--pace", "0.1"],
        cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert demo.stdout is not None
    try:
        lines = []
        for line in demo.stdout:
            lines.append(line)
            if " taken in " in line:
                break
        second = subprocess.run(
            [sys.executable, "-m", "tests.fake_stripe.demo"], cwd=ROOT, env=env, capture_output=True, text=True, check=False
        )
        assert second.returncode == 1
        assert f"error: a demo runs in {tmp_path / 'demo'} already" in second.stdout
        began = time.monotonic()
        demo.send_signal(signal.SIGINT)
        time.sleep(0.5)
        demo.send_signal(signal.SIGINT)
        rest, _ = demo.communicate(timeout=60)
        took = time.monotonic() - began
    finally:
        demo.kill()
        demo.stdout.close()
    assert demo.returncode == 0, "".join(lines) + rest
    assert rest.rstrip().endswith("stopped")
    assert took < 15
    assert str(tmp_path) not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


def test_a_directory_that_no_demo_made_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    env = {**os.environ, "DATA_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.fake_stripe.demo"], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "isn't a demo's" in done.stdout
    assert (tmp_path / "thesis.txt").read_text() == "mine"
