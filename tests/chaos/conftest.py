"""One installation serves all tests of a database here, each of which adds to its story; one that fails takes it with it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.chaos.scene import Place, Scene


@pytest.fixture(scope="package")
def places(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Place]]:
    """Where databases of a kind are made."""
    made: dict[str, Place] = {}
    with ExitStack() as closing:

        def find(kind: str) -> Place:
            if kind not in made:
                server = request.getfixturevalue("postgres_server") if kind == "postgresql" else None
                made[kind] = Place(kind, closing, tmp_path_factory.mktemp(kind), server)
            return made[kind]

        yield find


@pytest.fixture(scope="package")
def scenes(places: Callable[[str], Place]) -> Iterator[Callable[[str], Scene]]:
    """The installation of a kind of database, a new one after a failure."""
    made: dict[str, Scene] = {}

    def find(kind: str) -> Scene:
        if kind in made and not made[kind].clean:
            made.pop(kind).closing.close()
        if kind not in made:
            place = places(kind)
            directory = place.directory()
            with ExitStack() as closing:
                made[kind] = Scene(place.migrated(directory), directory, closing)
                made[kind].closing = closing.pop_all()
        made[kind].clean = False
        return made[kind]

    yield find
    for scene in made.values():
        scene.closing.close()


@pytest.fixture
def place(request: pytest.FixtureRequest, places: Callable[[str], Place]) -> Place:
    """Where databases are made; on SQLite unless the test names another kind."""
    return places(getattr(request, "param", "sqlite"))


@pytest.fixture
def scene(request: pytest.FixtureRequest, scenes: Callable[[str], Scene]) -> Scene:
    """The shared installation; on SQLite unless the test names another kind."""
    return scenes(getattr(request, "param", "sqlite"))
