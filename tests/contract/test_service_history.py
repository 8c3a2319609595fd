"""How deployments served, on SQLite and a real PostgreSQL: gaps, restarts, two monitors, ageing, size."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import Engine, func, select, text

from mlflow_hydraulic.evidence.tables import service, service_marks
from mlflow_hydraulic.monitor.findings import Subject
from mlflow_hydraulic.monitor.served import History
from mlflow_hydraulic.monitor.service_history import KEPT_S, read_history, record_counters, recorded_subjects
from mlflow_hydraulic.service_level import Counters, Process

COOLER = Subject(environment="prod", deployment="cooler", model="hydraulic-cooler")
BOUNDS = (0.01, 0.1)
NOON = 1_000_000 * 3600.0  # some whole hour
PROCESS = Process(started=1.0, requests=0, errors=0, buckets=(0, 0, 0), cpu_s=0.0, resident_bytes=100)


def counters(process: Process, ready: int = 1, **more: Process) -> Counters:
    return Counters(processes={"router": process, **more}, bounds_s=BOUNDS, ready=ready, wanted=1)


def counted(requests: int, errors: int = 0, **more: float) -> Process:
    return replace(PROCESS, requests=requests, errors=errors, buckets=(requests, 0, 0), **more)  # type: ignore[arg-type]


def look(evidence: Engine, at: float, told: Counters | None, *, up: bool | None = None, **others: Counters) -> bool:
    predictors = None if told is None else {"v1": told, **others}
    with evidence.begin() as connection:
        return record_counters(connection, COOLER, predictors, NOON + at, up=up, shadows=("shadow",))


def history(evidence: Engine, since: float = 0.0) -> History:
    with evidence.connect() as connection:
        return read_history(connection, COOLER, NOON + since)


def test_a_first_look_counts_nothing_and_the_next_what_came_since(evidence: Engine) -> None:
    assert history(evidence).at == 0.0
    assert look(evidence, 0, counters(counted(1000, 10, cpu_s=5.0)))
    assert look(evidence, 60, counters(counted(1120, 16, cpu_s=8.0, resident_bytes=250, restarts=1)))
    seen = history(evidence)
    for predictor in ("", "v1"):
        served = seen.served(NOON, NOON + 120, predictor)
        assert (served.level.requests, served.level.errors, served.level.restarts) == (120, 6, 1)
        assert served.requests_per_s == pytest.approx(2.0)
        assert served.cores == pytest.approx(0.05)
        assert (served.up, served.level.resident_bytes) == (1.0, 250)
        assert served.level.quantile_s(1.0) == 0.01
    assert (seen.at, seen.up, dict(seen.replicas)) == (NOON + 60, True, {"v1": (1, 1)})
    with evidence.connect() as connection:
        assert recorded_subjects(connection, "default") == [COOLER]


def test_no_data_is_not_no_requests(evidence: Engine) -> None:
    look(evidence, 0, counters(counted(10)))
    assert look(evidence, 60, None) is False
    nothing = history(evidence).served(NOON, NOON + 600)
    assert (nothing.requests_per_s, nothing.up, nothing.to_json()["requests"]) == (None, None, None)
    look(evidence, 120, counters(counted(10)))
    quiet = history(evidence).served(NOON, NOON + 600)
    assert (quiet.requests_per_s, quiet.up, quiet.to_json()["requests"]) == (0.0, 1.0, 0)


def test_over_a_gap_requests_count_and_are_spread_while_nobody_knows_whether_it_was_up(evidence: Engine) -> None:
    look(evidence, 0, counters(counted(0)))
    look(evidence, 36_000, counters(counted(1000)))
    seen = history(evidence)
    whole = seen.served(NOON, NOON + 36_000)
    assert (whole.level.requests, whole.up, whole.slice.seen_s) == (1000, None, 0)
    assert seen.served(NOON, NOON + 18_000).level.requests == 500
    assert whole.requests_per_s == pytest.approx(1000 / 36_000)


def test_a_process_that_began_anew_counts_whole_and_one_that_is_gone_takes_nothing_back(evidence: Engine) -> None:
    look(evidence, 0, counters(counted(500), s2=replace(PROCESS, cpu_s=9.0)))
    look(evidence, 60, counters(replace(counted(7, 2), started=2.0)))
    level = history(evidence).served(NOON, NOON + 120).level
    assert (level.requests, level.errors) == (7, 2)


def test_down_and_not_answering_are_seen_and_a_shadow_is_nobodys_answer(evidence: Engine) -> None:
    shadow = counters(counted(0), ready=0)
    look(evidence, 0, counters(counted(0)), shadow=shadow)
    look(evidence, 60, counters(counted(10)), shadow=counters(counted(99), ready=0))
    seen = history(evidence)
    assert (seen.up, seen.served(NOON, NOON + 120).level.requests) == (True, 10)
    assert seen.served(NOON, NOON + 120, "shadow").up == 0.0
    look(evidence, 120, counters(counted(10), ready=0))
    assert history(evidence).up is False
    look(evidence, 180, None, up=False)
    seen = history(evidence)
    assert seen.up is False
    assert seen.served(NOON, NOON + 240).up == pytest.approx(1 / 3)
    look(evidence, 240, counters(counted(40)))
    assert history(evidence).served(NOON, NOON + 600).level.requests == 40, "what came while nobody told is not lost"


def test_the_same_look_twice_and_an_older_one_count_once(evidence: Engine) -> None:
    look(evidence, 0, counters(counted(0)))
    assert look(evidence, 60, counters(counted(60)))
    assert not look(evidence, 60, counters(counted(60)))
    assert not look(evidence, 30, counters(counted(30)))
    assert not look(evidence, 90, counters(counted(30))), "the clock says later, the counters say earlier"
    assert history(evidence).served(NOON, NOON + 600).level.requests == 60


def test_monitors_side_by_side_count_each_request_once(evidence: Engine) -> None:
    """Each looks at a router that counts one request a second, at its own times; looks may be lost, requests not."""

    def monitor(offset: float) -> None:
        for n in range(15):
            at = 10 * n + offset
            look(evidence, at, counters(counted(int(at * 10))))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(monitor, (0.0, 1.0, 2.0, 3.0)))
    look(evidence, 200, counters(counted(2000)))
    with evidence.connect() as connection:
        assert connection.execute(select(func.count()).select_from(service_marks)).scalar() == 1
    level = history(evidence).served(NOON - 600, NOON + 600).level
    assert 2000 - 30 <= level.requests <= 2000, "but for those before the first look"
    assert sum(level.buckets) == level.requests


def test_short_rows_become_hours_and_end_and_nothing_is_lost_meanwhile(evidence: Engine) -> None:
    step, looks = 600, 3 * 24 * 6
    with evidence.begin() as connection:
        for n in range(looks + 1):
            record_counters(connection, COOLER, {"v1": counters(counted(60 * n, n // 2))}, NOON + step * n)
    end = NOON + step * looks
    seen = history(evidence)
    level = seen.served(NOON, end).level
    assert {one.start >= end - 2 * 86_400 for one in seen.slices["v1"]} == {True}, "of predictors, the last day"
    assert (level.requests, level.errors) == (60 * looks, looks // 2)
    lengths = [one.length for one in seen.slices[""]]
    assert (lengths.count(3600), lengths.count(step)) == (24, 2 * 24 * 6)
    assert seen.served(NOON, NOON + 7200).level.requests == 720
    with evidence.connect() as connection:
        rows = [dict(row) for row in connection.execute(select(service)).mappings()]
    longest = max(len(row["key"] + row["predictor"] + row["durations"]) for row in rows)
    assert (longest + 300 + 11 * 8) * 3700 < 2e6, "what the module says of a predictor's size, were all classes full"
    look(evidence, step * looks + KEPT_S + 3 * 86_400, counters(counted(60 * looks)))
    assert all(one.start >= end for one in history(evidence).slices["v1"]), "older than 35 days is dropped"


def test_what_another_release_left_as_a_mark_begins_anew(evidence: Engine) -> None:
    look(evidence, 0, counters(counted(100)))
    with evidence.begin() as connection:
        connection.execute(text("UPDATE hydraulic_service_marks SET said = '{\"seen\": 7}'"))
    assert look(evidence, 60, counters(counted(160)))
    assert look(evidence, 120, counters(counted(190)))
    level = history(evidence).served(NOON, NOON + 600).level
    assert (level.requests, math.isfinite(level.quantile_s(0.5) or math.inf)) == (30, True)
