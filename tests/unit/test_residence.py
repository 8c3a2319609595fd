"""The folder of `hydraulic up`: what other processes are told, and what only its owner may read."""

from __future__ import annotations

import configparser
import os
import shlex
import socket
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlflow_hydraulic.cli.parts import Wish, controller_part, free_port, monitor_part, server_part
from mlflow_hydraulic.cli.processes import CappedLog
from mlflow_hydraulic.cli.residence import Residence, read_json
from mlflow_hydraulic.cli.supervision import person
from mlflow_hydraulic.cli.up import up
from mlflow_hydraulic.errors import BadInput, Conflict, Failed

URL = "http://127.0.0.1:5000"


@pytest.fixture
def residence(tmp_path: Path) -> Residence:
    made = Residence(tmp_path / "a place's name")
    made.make()
    return made


def wish(host: str = "127.0.0.1", *, auth: bool = False) -> Wish:
    return Wish(host=host, port=5000, auth=auth, interval_s=None, workers=1)


def test_env_sh_brings_a_shell_there_whatever_the_folder_is_called(residence: Residence) -> None:
    residence.write_env_sh(residence.exports({}, URL))
    command = f". {shlex.quote(str(residence.env_sh))} && env"
    environ = {"PATH": os.environ["PATH"]}
    told = subprocess.run(["sh", "-c", command], env=environ, capture_output=True, text=True, check=True)
    found = dict(line.split("=", 1) for line in told.stdout.splitlines())
    assert found["MLFLOW_TRACKING_URI"] == URL
    assert found["HYDRAULIC_HOME"] == str(residence.path / "home")
    assert found["HYDRAULIC_DATABASE"] == f"sqlite:///{residence.path}/mlflow.db"
    assert stat.S_IMODE(residence.env_sh.stat().st_mode) == 0o600


def test_no_variable_of_the_persons_shell_leads_elsewhere(residence: Residence) -> None:
    base = {
        "PATH": "/bin",
        "MLFLOW_TRACKING_URI": "http://elsewhere",
        "MLFLOW_REGISTRY_URI": "http://elsewhere",
        "MLFLOW_REGISTRY_STORE_URI": "sqlite:///elsewhere.db",
        "MLFLOW_STATIC_PREFIX": "/elsewhere",
        "MLFLOW_AUTH_ADMIN_PASSWORD": "elsewhere",
        "HYDRAULIC_HOME": "/elsewhere",
        "HYDRAULIC_DATABASE": "sqlite:///elsewhere.db",
        "HYDRAULIC_THREADS": "2",
    }
    for part in (server_part(residence, wish(), base), controller_part(residence, wish(), base, print)):
        assert "elsewhere" not in " ".join(part.environ.values())
        assert part.environ["HYDRAULIC_THREADS"] == "2"


def test_the_configuration_is_the_one_named_then_the_folders_then_the_current_ones(
    residence: Residence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert residence.find_config({}) is None
    (tmp_path / "hydraulic.toml").touch()
    assert residence.find_config({}) == tmp_path / "hydraulic.toml"
    residence.config.touch()
    assert residence.find_config({}) == residence.config
    assert residence.find_config({"HYDRAULIC_CONFIG": "mine.toml"}) == tmp_path / "mine.toml"


def test_secrets_are_made_once_for_their_owner_alone(residence: Residence) -> None:
    first = residence.server_secrets()
    assert residence.server_secrets() == first
    assert len(first["MLFLOW_AUTH_ADMIN_PASSWORD"]) >= 20 and len(first["MLFLOW_FLASK_SERVER_SECRET_KEY"]) >= 32
    for path in (residence.auth_ini, residence.auth_json):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    read = configparser.ConfigParser()
    read.read(residence.auth_ini)
    assert read["mlflow"]["database_uri"] == f"sqlite:///{residence.path}/auth.db"
    assert Residence(residence.path.parent / "other").path != residence.path


def test_passwords_reach_processes_by_environment_and_never_by_command_line(residence: Residence) -> None:
    server = server_part(residence, wish(auth=True), {})
    controller = controller_part(residence, wish(auth=True), {}, print)
    monitor = monitor_part(residence, wish(auth=True), {}, print)
    passwords = {part.environ["MLFLOW_TRACKING_PASSWORD"] for part in (controller, monitor)}
    passwords.add(server.environ["MLFLOW_AUTH_ADMIN_PASSWORD"])
    assert len(passwords) == 3  # each has an account of its own
    said = " ".join([*server.command, *controller.command, *monitor.command])
    assert not any(password in said for password in passwords)
    assert not any(password in repr(residence.accounts(demo=True)) for password in passwords)


def test_env_sh_logs_in_as_ds1_in_a_demo_and_else_as_the_administrator(residence: Residence) -> None:
    residence.server_secrets()
    for asked, user in ((wish(), ""), (wish(auth=True), "admin"), (replace(wish(auth=True), demo=True), "ds1")):
        assert person(asked) == user
        assert residence.exports({}, URL, user=user).get("MLFLOW_TRACKING_USERNAME", "") == user


def test_demo_users_stay_and_the_secrets_of_an_older_folder_are_kept(residence: Residence) -> None:
    residence.auth_json.write_text('{"admin_password": "that of before", "flask_secret_key": "key"}')
    assert residence.choose_demo(wish=False) is False
    assert residence.choose_demo(wish=True) is True
    assert residence.choose_demo(wish=False) is True
    assert residence.secret("admin_password") == "that of before"
    assert len(residence.secret("controller_password")) >= 20
    assert [account.name for account in residence.accounts(demo=True)][2:] == ["ds1", "ds2"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--demo-users", "--no-auth"), "need the log-in"),
        (("--demo-users", "--host", "192.0.2.1"), "127.0.0.1 only"),
    ],
)
def test_demo_users_are_for_this_machine_and_a_log_in(tmp_path: Path, options: tuple[str, ...], named: str) -> None:
    done = CliRunner().invoke(up, ["--folder", str(tmp_path / "demo"), "--port", "0", *options])
    assert isinstance(done.exception, BadInput) and named in str(done.exception), done
    assert not (tmp_path / "demo" / "mlflow.db").exists()


def test_a_folder_that_is_made_here_is_its_owners_alone(residence: Residence, tmp_path: Path) -> None:
    assert stat.S_IMODE(residence.path.stat().st_mode) == 0o700
    there = tmp_path / "there"
    there.mkdir()
    there.chmod(0o755)
    other = Residence(there)
    other.make()
    assert stat.S_IMODE(there.stat().st_mode) == 0o755, "somebody else's choice stays"
    other.server_secrets()
    assert stat.S_IMODE((there / "auth.db").stat().st_mode) == 0o600, "password hashes"
    (there / "auth.db").write_bytes(b"users")
    other.server_secrets()
    assert (there / "auth.db").read_bytes() == b"users"


def test_the_log_in_stays_as_it_was_last_chosen(residence: Residence) -> None:
    assert residence.choose_auth(None) is False
    assert residence.choose_auth(True) is True
    password = residence.server_secrets()["MLFLOW_AUTH_ADMIN_PASSWORD"]
    assert residence.choose_auth(None) is True
    assert residence.choose_auth(False) is False
    assert residence.choose_auth(None) is False
    assert residence.choose_auth(True) is True
    assert residence.choose_auth(None) is True
    assert residence.server_secrets()["MLFLOW_AUTH_ADMIN_PASSWORD"] == password
    assert stat.S_IMODE(residence.auth_json.stat().st_mode) == 0o600


def test_a_damaged_secrets_file_does_not_turn_the_log_in_off(residence: Residence) -> None:
    residence.auth_json.write_text("{")
    assert residence.choose_auth(None) is True
    assert residence.choose_auth(False) is False
    assert residence.auth_json.read_text() == "{"


def test_a_damaged_secrets_file_says_the_way_out(residence: Residence) -> None:
    residence.auth_json.write_text("{")
    with pytest.raises(Failed, match=r"auth\.json: holds no admin_password"):
        residence.server_secrets()


@pytest.mark.parametrize("name", ["what?", "a#b", "50%"])
def test_a_folder_that_no_database_uri_can_hold_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="must not hold"):
        Residence(tmp_path / name)


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="cannot be made"):
        Residence(tmp_path / "file").make()


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00"])
def test_a_status_that_was_cut_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "up.json").write_text(text)
    assert read_json(tmp_path / "up.json") == {}


def test_a_taken_port_is_refused_and_zero_takes_a_free_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Conflict, match=f"--port {port}: .*--port 0"):
            free_port("127.0.0.1", port)
    assert free_port("127.0.0.1", 0) > 0
    with pytest.raises(Conflict, match=r"192\.0\.2\.1 cannot listen there"):
        free_port("192.0.2.1", 0)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", URL),
        ("0.0.0.0", URL),  # noqa: S104 - nothing is bound here
        ("::1", "http://[::1]:5000"),
        ("rig", "http://rig:5000"),
    ],
)
def test_the_address_that_is_told_is_one_that_can_be_opened(host: str, url: str) -> None:
    assert wish(host).url == url


def test_a_log_keeps_under_its_size_and_its_last_lines(tmp_path: Path) -> None:
    log = CappedLog(tmp_path / "server.log", most=1000)
    for number in range(200):
        log.write(f"line {number:04}\n".encode())
    kept = (tmp_path / "server.log.1").read_text() + log.path.read_text()
    assert log.path.stat().st_size <= 1000 and kept.endswith("line 0199\n") and "line 0120" in kept
    CappedLog(tmp_path / "not there" / "server.log").write(b"lost, and nothing else\n")
