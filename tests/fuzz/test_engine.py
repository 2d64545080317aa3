"""The engine itself: it finds what is planted, makes it small, keeps it once, and the same seed makes the same inputs."""

import hashlib
import json
import random
from pathlib import Path

import pytest

from tests.fuzz import CORPUS, keeping
from tests.fuzz.coverage import Coverage
from tests.fuzz.engine import Engine, TooSlow, signature
from tests.fuzz.mutate import Mutator
from tests.fuzz.seeds import documents, events, objects, templates
from tests.fuzz.sources import JsonSource
from tests.fuzz.spans import Template
from tests.fuzz.targets import PURE, names


def planted(data: bytes) -> str:
    """Breaks on a quantity of 0 beside a currency, and tells apart what has a price."""
    value = json.loads(data)
    if isinstance(value, dict) and value.get("quantity") == 0 and "currency" in value:
        raise ZeroDivisionError
    return "priced" if isinstance(value, dict) and "price" in value else "plain"


class PlantedTarget:
    name = "planted"
    watched = ("tests/fuzz/test_engine.py",)

    def source(self, rng: random.Random) -> JsonSource:
        seeds = [Template(b'{"id":"x","currency":"usd","a":[1,2,{"b":"long text"}],"quantity":3}')]
        return JsonSource(seeds, rng, noise=0.0)

    def run(self, data: bytes) -> tuple[str, ...]:
        try:
            return (planted(data),)
        except (ValueError, RecursionError):
            return ("no JSON",)

    def settle(self) -> None: ...

    def close(self) -> None: ...


def test_what_is_planted_is_found_made_small_and_kept_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    saved: dict[bytes, bool] = {}
    monkeypatch.setattr(keeping, "save", lambda _name, data, bug=False: saved.setdefault(data, bug))
    report = Engine(PlantedTarget(), 5, keep=True).run(count=20_000)
    (where,) = report.bugs
    assert where.startswith("ZeroDivisionError at test_engine.py:")
    bugs = [data for data, bug in saved.items() if bug]
    assert [set(json.loads(data)) for data in bugs] == [{"currency", "quantity"}]
    assert any(json.loads(data).get("price") for data, bug in saved.items() if not bug and b"price" in data)
    assert report.inputs == 20_000
    assert {"plain", "priced", "no JSON"} <= report.words.keys()


def test_the_same_seed_makes_the_same_inputs() -> None:
    def made(seed: int) -> list[bytes]:
        mutator = Mutator(templates(objects()[:9]), random.Random(seed))
        return [mutator.next()[0] for _ in range(300)]

    assert made(1) == made(1)
    assert len(set(made(1)) & set(made(2))) < 150
    for name in PURE:
        first, again = (PURE[name]().source(random.Random(7)) for _ in range(2))
        assert [first.next() for _ in range(50)] == [again.next() for _ in range(50)]


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[" * 5_000, b"5", b'"x"', b"{}", b"[]"])
def test_a_text_without_values_to_change_is_still_a_template(raw: bytes) -> None:
    template = Template(raw)
    assert template.slots == []
    source = Mutator([template], random.Random(1))
    assert all(isinstance(source.next()[0], bytes) for _ in range(50))


def test_each_value_stands_where_its_slot_says() -> None:
    for value in [*events()[:20], *documents()[:5]]:
        template = Template(json.dumps(value).encode())
        assert json.loads(template.raw) == value
        for slot in template.slots:
            json.loads(template.raw[slot.start : slot.end])
            assert not slot.key_end or json.loads(template.raw[slot.key_start : slot.key_end]) == slot.key
            json.loads(template.raw[: slot.cut_start] + template.raw[slot.cut_end :])


def test_numbers_are_kept_as_they_are_written() -> None:
    raw = b'{"a":1e999999,"b":0.10,"c":-0,"d":NaN,"e":1' + b"0" * 400 + b"}"
    assert Template(raw).raw == raw


def test_only_lines_under_the_places_asked_for_count_and_only_once() -> None:
    coverage = Coverage(["tests/fuzz/test_engine.py"])

    def run() -> str:
        return planted(b"{}")

    found, lines = coverage.traced(run)
    assert found == "plain"
    assert {name.rpartition("/")[2] for name, _ in lines} == {"test_engine.py"}
    coverage.lines |= lines
    assert coverage.traced(run)[1] == set()


def test_an_input_that_is_too_slow_or_raises_has_a_name_that_tells_where() -> None:
    assert signature(TooSlow("11 s")) == "TooSlow at : 11 s"
    with pytest.raises(ZeroDivisionError) as raised:
        planted(b'{"quantity":0,"currency":1}')
    assert signature(raised.value).startswith("ZeroDivisionError at test_engine.py:")


def test_every_file_of_the_corpus_is_small_and_named_by_its_content() -> None:
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert len(files) > 100
    assert {path.parent.name for path in files} <= {*names(), "stored"}
    for path in files:
        data = path.read_bytes()
        assert path.name.removeprefix("bug-") == hashlib.sha256(data).hexdigest()[:16]
        assert len(data) <= (keeping.LARGEST_BUG if path.name.startswith("bug-") else keeping.LARGEST)
