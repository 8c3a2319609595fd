"""The ledger's commands on SQLite and on a real PostgreSQL: show, verify, export, anchor, history, as-of."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, text

from mlflow_hydraulic.cli import main
from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.evidence import ledger, queries
from mlflow_hydraulic.evidence.ledger import Event

HOSTILE = '\x1b[2J\'; drop table hydraulic_ledger; -- \u202e <script>, "q"\r\n=cmd()\té 🙂'


def ran(*versions: int, replicas: int = 1) -> dict[str, object]:
    share = 100 // len(versions)
    return {"model": "m", "shadow": None, "predictors": [part(n, share, replicas) for n in versions]}


def part(version: int, traffic: int, replicas: int) -> dict[str, object]:
    pin = {"uri": f"models:/m/{version}", "name": "m", "version": str(version), "digest": f"{version}" * 64}
    return {**pin, "traffic": traffic, "replicas": replicas}


def stage(version: int, before: str, after: str | None, environment: str = "prod", reason: str = "") -> Event:
    return Event(
        verb="stage",
        subject=f"models:/m/{version}",
        actor="ds1",
        model="m",
        environment=environment,
        before=before,
        after=after,
        reason=reason,
    )


def runs(before: object, after: object, reason: str = "stage:Production is version 3") -> Event:
    subject = {
        "verb": "runs",
        "subject": "prod/m",
        "model": "m",
        "environment": "prod",
        "actor": "hydraulic-controller",
    }
    return Event(**subject, before=before, after=after, reason=reason)


STORY = (
    stage(2, "None", "Production", reason="first"),
    runs(None, ran(2)),
    Event(verb="pinned", subject="models:/m/3", actor="hydraulic-controller", model="m", after="f" * 64),
    Event(
        verb="refused",
        subject="models:/m/3",
        actor="ds2",
        model="m",
        environment="prod",
        before="None",
        after={"asked": "Production", "verb": "stage", "refused": ["PROD asks for a reason"]},
    ),
    stage(3, "Staging", "Production", "dev,prod", reason="beats 2"),
    runs(ran(2), ran(3)),
    Event(verb="alias", subject="models:/m@champion", actor="ds1", model="m", before=2, after=3, reason=HOSTILE),
    Event(verb="tag", subject="models:/m/3#hydraulic.replicas", actor="ds1", model="m", after="2", environment="prod"),
    Event(verb="stage", subject="models:/other/1", actor="ds2", model="other", before="None", after="Staging"),
    runs(ran(3), None),
)


@pytest.fixture
def told(evidence: Engine, database_uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """A ledger that tells STORY, one row an hour, the last one an hour ago."""
    monkeypatch.setenv("HYDRAULIC_DATABASE", database_uri)
    start = utc_now() - timedelta(hours=len(STORY))
    with evidence.begin() as connection:
        for hour, event in enumerate(STORY):
            ledger.append(connection, [event], start + timedelta(hours=hour))
    yield evidence


def call(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, words, prog_name="hydraulic")
    assert result.exit_code == code, (result.output, result.exception)
    return result


def tamper(engine: Engine, sql: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(sql))


@pytest.mark.usefixtures("told")
def test_show_prints_rows_newest_last_and_nothing_that_acts_on_a_terminal() -> None:
    shown = call("ledger", "show").stdout
    assert [int(line.split()[0]) for line in shown.splitlines()[1:]] == list(range(1, 11))
    assert "\x1b" not in shown
    assert "\\x1b" in shown
    assert "v2 -> v3" in shown


@pytest.mark.parametrize(
    ("words", "rows"),
    [
        (["m", "--verb", "runs"], [2, 6, 10]),
        (["--actor", "ds2"], [4, 9]),
        (["--env", "prod", "--verb", "stage"], [1, 5]),
        (["--env", "dev"], [5]),
        (["--env", "%"], []),
        (["other"], [9]),
        (["--last", "2"], [9, 10]),
        (["--since", "2h30m"], None),
        (["--since", "150m"], [9, 10]),
        (["--until", "510m"], [1, 2]),
    ],
)
@pytest.mark.usefixtures("told")
def test_show_asks_for(words: list[str], rows: list[int] | None) -> None:
    if rows is None:
        assert "cannot be read" in call("ledger", "show", *words, code=2).stderr
        return
    assert [row["seq"] for row in json.loads(call("ledger", "show", *words, "--json").stdout)] == rows


@pytest.mark.usefixtures("told")
def test_rows_that_are_left_out_are_spoken_of() -> None:
    assert "older rows are not shown" in call("ledger", "show", "--last", "9").stderr
    assert call("ledger", "show", "--last", "10").stderr == ""


def test_verify_names_every_fault_and_exits_with_7(told: Engine) -> None:
    assert "10 rows, intact" in call("ledger", "verify").stdout
    tamper(told, "update hydraulic_ledger set reason = 'x' where seq in (2, 4)")
    tamper(told, "delete from hydraulic_ledger where seq = 7")
    found = call("ledger", "verify", "--json", code=7)
    assert [fault["seq"] for fault in json.loads(found.stdout)["faults"]] == [2, 4, 8, 8]
    assert "4 faults in 9 rows" in found.stderr
    assert "row 7 is missing" in call("ledger", "verify", code=7).stdout


def test_an_anchor_finds_what_was_written_anew(told: Engine, tmp_path: Path) -> None:
    file = tmp_path / "anchor.json"
    call("ledger", "anchor", "-o", str(file))
    said = json.loads(file.read_text())
    assert set(said) == {"seq", "hash", "at"}
    call("ledger", "verify", "--anchor", str(file))
    call("ledger", "verify", "--anchor", f"{said['seq']}:{said['hash']}")
    tamper(told, "delete from hydraulic_ledger")
    tamper(told, f"update hydraulic_ledger_head set seq = 0, hash = '{ledger.GENESIS}'")
    with told.begin() as connection:
        ledger.append(connection, [stage(1, "None", "Production")] * 10)
    call("ledger", "verify")
    assert "not the anchored one" in call("ledger", "verify", "--anchor", str(file), code=7).stdout


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [(None, 2, "neither a file"), ("[]", 3, "not an anchor"), ('{"seq": 1, "hash": "x"}', 3, "64 hexadecimal")],
)
@pytest.mark.usefixtures("told")
def test_an_anchor_that_is_none_is_said(tmp_path: Path, content: str | None, code: int, words: str) -> None:
    file = tmp_path / "anchor.json"
    if content is not None:
        file.write_text(content)
    assert words in call("ledger", "verify", "--anchor", str(file), code=code).stderr


@pytest.mark.usefixtures("evidence")
def test_an_empty_ledger_is_intact_and_has_an_anchor(
    database_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HYDRAULIC_DATABASE", database_uri)
    file = tmp_path / "anchor.json"
    call("ledger", "anchor", "-o", str(file))
    call("ledger", "verify", "--anchor", str(file))
    assert call("ledger", "show").stdout == "no rows\n"
    assert "nothing ran" in call("as-of", "1h").stdout
    call("ledger", "export", "-o", str(tmp_path / "empty.jsonl"))
    call("ledger", "verify", "--file", str(tmp_path / "empty.jsonl"))


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_an_export_is_verified_offline_and_to_the_last_character(
    told: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    file = tmp_path / f"ledger.{kind}"
    assert "10 rows" in call("ledger", "export", "-o", str(file), "--format", kind).stdout
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("ledger.")] == [file.name]
    anchor = json.loads(call("ledger", "anchor").stdout)
    anchored = f"{anchor['seq']}:{anchor['hash']}"
    monkeypatch.setenv("HYDRAULIC_DATABASE", "sqlite:////nowhere/at/all.db")
    call("ledger", "verify", "--file", str(file), "--anchor", anchored)
    monkeypatch.setenv("HYDRAULIC_DATABASE", told.url.render_as_string(hide_password=False))
    whole = file.read_bytes()
    assert call("ledger", "export", "--format", kind).stdout_bytes == whole
    file.write_bytes(whole.replace(b"beats 2", b"beats 1"))
    assert "content was changed" in call("ledger", "verify", "--file", str(file), code=7).stdout
    lines = whole.splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:3] + lines[4:]))
    lacking = call("ledger", "verify", "--file", str(file), code=7)
    assert "is missing before it" in lacking.stdout and "as a page's filtered export does" in lacking.stderr
    file.write_bytes(b"".join(lines[:-1]))
    assert "not there" in call("ledger", "verify", "--file", str(file), "--anchor", anchored, code=7).stdout
    file.write_bytes(whole[:-9])
    assert "not a row of an exported ledger" in call("ledger", "verify", "--file", str(file), code=3).stderr


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"hello\n", b"[" * 100_000, b'{"seq": 1}\n', b"{" * 9])
def test_a_file_that_is_no_ledger_is_said(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    assert "hydraulic: " in call("ledger", "verify", "--file", str(file), code=3).stderr
    assert "no such file" in call("ledger", "verify", "--file", str(file) + "x", code=4).stderr


@pytest.mark.usefixtures("told")
def test_an_export_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    assert "cannot be written" in call("ledger", "export", "-o", str(tmp_path / "no" / "x"), code=1).stderr
    (tmp_path / "folder").mkdir()
    assert call("ledger", "export", "-o", str(tmp_path / "folder"), code=2).stderr
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name or path.name == "no"] == []


@pytest.mark.usefixtures("told")
def test_history_tells_it_in_words() -> None:
    lines = [line.split("  ", 1)[1] for line in call("history", "m").stdout.splitlines()]
    assert lines[:6] == [
        "ds1 moved version 2 from None to Production: first",
        "prod now runs v2: stage:Production is version 3",
        "version 3 was pinned to digest ffffffffffff",
        "refused: ds2 asked to move version 3 from None to Production, but PROD asks for a reason",
        "ds1 moved version 3 from Staging to Production: beats 2",
        "prod now runs v3 (was v2): stage:Production is version 3",
    ]
    assert lines[6].startswith("ds1 set alias champion to version 3 (was version 2): \\x1b[2J")
    assert lines[7] == "ds1 set hydraulic.replicas of version 3 to 2"
    assert lines[8].startswith("prod no longer runs it (was v3)")
    assert len(call("history", "m", "--env", "prod").stdout.splitlines()) == 7
    assert json.loads(call("history", "m", "--env", "dev", "--json").stdout)[0]["actor"] == "ds1"
    assert "tells nothing of model 'x'" in call("history", "x", code=4).stderr


@pytest.mark.parametrize(
    ("ago", "running", "stages"),
    [
        ("-585m", [], {"2": "Production"}),
        ("8h", ["v2"], {"2": "Production"}),
        ("-5h", ["v3"], {"2": "Production", "3": "Production"}),
        ("30m", [], {"2": "Production", "3": "Production"}),
        ("-2w", [], None),
    ],
)
@pytest.mark.usefixtures("told")
def test_as_of_tells_what_ran_and_what_was_said(ago: str, running: list[str], stages: dict[str, str] | None) -> None:
    said = json.loads(call("as-of", ago, "--model", "m", "--json").stdout)
    versions = ["/".join(f"v{p['version']}" for p in one["predictors"]) for one in said["running"]]
    assert versions == running
    assert [one["stages"] for one in said["registry"]] == ([stages] if stages else [])
    shown = call("as-of", ago).stdout
    assert re.search(r"^prod at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, by ledger row \d+", shown)


@pytest.mark.parametrize(
    ("time", "words"),
    [("2999-01-01", "in the future"), ("tomorrow", "cannot be read"), ("99999999999d", "cannot be read")],
)
@pytest.mark.usefixtures("told")
def test_as_of_no_time_is_said(time: str, words: str) -> None:
    assert words in call("as-of", time, code=2).stderr


def test_as_of_an_environment_that_never_was_names_those_that_are(told: Engine) -> None:
    for form in ([], ["--json"]):
        assert re.search("--env prdo: .*dev.*prod", call("as-of", "1h", "--env", "prdo", *form, code=2).stderr)
    assert "nothing ran" in call("as-of", "1h", "--env", "dev").stdout
    gone = Event(verb="runs", subject="old/m", actor="c", model="m", environment="old", after=None)
    with told.begin() as connection:
        ledger.append(connection, [gone], utc_now())
    shown = call("as-of", "1h", "--env", "old").stdout
    assert "nothing ran" in shown, "no longer configured, and on record"


def test_a_row_that_somebody_wrote_by_hand_is_named(told: Engine) -> None:
    tamper(told, "update hydraulic_ledger set after = '7' where seq = 6")
    assert "ledger verify" in call("as-of", "1m", code=7).stderr
    assert "7" in call("history", "m").stdout
    call("ledger", "show")


def test_what_ran_and_why_is_read_for_a_rollback(told: Engine) -> None:
    with told.connect() as connection:
        assert [str(one) if one else None for one in queries.ran(connection, "m", "prod")] == ["v2", "v3", None]
        assert queries.last_reason(connection, "m", "dev") == "beats 2"
        assert queries.last_reason(connection, "other", "prod") == ""


def test_what_somebody_tried_by_hand_is_nothing_to_go_back_to(told: Engine) -> None:
    tried = Event(verb="runs", subject="prod/m-try", actor="unknown", model="m", environment="prod", after=ran(9))
    with told.begin() as connection:
        ledger.append(connection, [tried])
    with told.connect() as connection:
        assert [str(one) if one else None for one in queries.ran(connection, "m", "prod")] == ["v2", "v3", None]
