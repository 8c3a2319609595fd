"""A pass of the monitor that ends in the middle, whoever or whatever ends it: nothing is doubled, nothing is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from mlflow_hydraulic.evidence.tables import ledger, outbox
from mlflow_hydraulic.monitor import looks, standing, watch
from tests.support.watching import World, normal

KILLED = KeyboardInterrupt()
AWAY = OperationalError("COMMIT", {}, OSError("away"))


def left(world: World) -> tuple[Any, ...]:
    """Open alerts with colour and episode, and the numbers of ledger rows, findings and notifications."""
    with world.engine.connect() as connection:
        alerts = {str(one.key): (one.colour, one.episode) for one in standing.current(connection, "default").values()}
        rows, posts = (connection.execute(select(func.count()).select_from(t)).scalar_one() for t in (ledger, outbox))
        return alerts, rows, len(list(looks.newest(connection, "default"))), posts


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    """What a pass that nothing disturbs leaves."""
    world = World(tmp_path_factory.mktemp("whole"))
    world.ask("cooler", normal(200, 5, shift=1.5))
    world.watch().look()
    found = left(world)
    assert found[0] and found[1] and found[3]
    return found


@pytest.mark.parametrize(
    ("when", "error", "anew"),
    [
        ("before judge", KILLED, True),
        ("before judge", AWAY, False),
        ("in its transaction", KILLED, True),
        ("in its transaction", AWAY, False),
        ("before sending", KILLED, True),
    ],
)
def test_what_the_next_pass_leaves_is_what_one_pass_leaves(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    whole: tuple[Any, ...],
    when: str,
    error: BaseException,
    anew: bool,
) -> None:
    world = World(tmp_path)
    world.ask("cooler", normal(200, 5, shift=1.5))
    first = world.watch()

    def ends(*_arguments: object, **_named: object) -> Any:
        raise error

    with monkeypatch.context() as patch:
        if when == "in its transaction":
            patch.setattr("mlflow_hydraulic.monitor.outbox.put", ends)
        elif when == "before sending":
            patch.setattr("mlflow_hydraulic.monitor.outbox.Outbox.deliver", ends)
        else:
            patch.setattr(watch, "judge", ends)
        with pytest.raises(type(error)):
            first.look()
    if when != "before sending":
        assert left(world) == ({}, 0, 0, 0)
    (world.watch() if anew else first).look()
    assert left(world) == whole


def test_a_pass_that_ends_early_forgets_that_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a process that goes on: what it remembers is only what is written down."""
    world = World(tmp_path)
    world.ask("cooler", normal(200, 4))
    monitor = world.watch()
    monitor.look()
    world.forward(hours=1)
    world.ask("cooler", normal(600, 5, shift=1.5))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(watch, "judge", lambda *_, **__: (_ for _ in ()).throw(KILLED))
        monitor.look()
    looked = monitor.look()
    assert any(one.colour == "red" and one.level == "drift" for one in looked.found)
