"""The table [monitor]: every key of rules and channels, and errors that name the key, the rule and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_hydraulic.errors import BadInput, Unavailable
from mlflow_hydraulic.monitor.alert import Key
from mlflow_hydraulic.monitor.channels import Alertmanager, Lines, Mail, Secret, Webhook
from mlflow_hydraulic.monitor.configured import Monitoring, read_monitoring
from mlflow_hydraulic.monitor.findings import LEVELS, Subject
from mlflow_hydraulic.monitor.mutes import exactly
from mlflow_hydraulic.monitor.rules import DEFAULTS
from mlflow_hydraulic.monitor.sending import address
from mlflow_hydraulic.settings import read_tables

EVERY_KEY = """
[monitor]
notify = ["team"]
stale = "2h"
[[monitor.rules]]
environment = "prod"
deployment = "cooler*"
predictor = "*"
model = "hydraulic-*"
level = "drift"
rule = "inputs"
raise_after = 2
of = 3
clear_after = 4
notify = ["red"]
channels = ["team", "mail"]
again = "4h"
quiet = "90s"
grey_after = 7200
[[monitor.rules]]
level = "service"
of = 5
[[monitor.rules]]
environment = "dev"
notify = []
[monitor.channels.team]
kind = "webhook"
url_env = "TEAM_URL"
secret_file = "/run/secrets/team"
token_env = "TEAM_TOKEN"
ca_file = "/etc/ca.pem"
timeout = "5s"
[monitor.channels.mail]
kind = "smtp"
host = "mail.example.com"
tls = "tls"
user = "hydraulic"
password_env = "MAIL_PASSWORD"
from = "hydraulic@example.com"
to = ["rig@example.com", "ds1@example.com"]
[monitor.channels.am]
kind = "alertmanager"
url = "http://alertmanager:9093/prefix"
hold = "10m"
[monitor.channels.console]
kind = "stdout"
"""


def read(folder: Path, toml: str) -> Monitoring:
    (folder / "h.toml").write_text(toml, encoding="utf-8")
    return read_monitoring(read_tables({"HYDRAULIC_CONFIG": str(folder / "h.toml")}))


def key(level: str = "drift", rule: str = "inputs", environment: str = "prod", deployment: str = "cooler-2") -> Key:
    subject = Subject(environment=environment, deployment=deployment, model="hydraulic-cooler")
    return Key(subject=subject, level=level, rule=rule)  # type: ignore[arg-type]


def test_every_key_is_read(tmp_path: Path) -> None:
    found = read(tmp_path, EVERY_KEY)
    number, rule = found.rules.found(key())
    assert (number, rule.raise_after, rule.of, rule.clear_after) == (1, 2, 3, 4)
    assert (rule.notify, rule.channels) == (("red",), ("team", "mail"))
    assert (rule.again_s, rule.quiet_s, rule.grey_after_s, found.rules.stale_s) == (14400, 90, 7200, 7200)
    service = found.rules.of(key("service"))
    assert (service.raise_after, service.of, service.channels) == (2, 5, ("team",))
    assert found.rules.of(key(environment="dev")).notify == ()
    assert found.rules.found(key(rule="correlation")) == (0, found.rules.of(key(rule="correlation")))
    assert len(list(found.rules.every())) == 1 + 1 + 4 + 4
    assert found.channels["team"] == Webhook(
        name="team",
        url=Secret(env="TEAM_URL"),
        secret=Secret(file="/run/secrets/team"),
        token=Secret(env="TEAM_TOKEN"),
        ca_file="/etc/ca.pem",
        timeout_s=5,
    )
    mail = found.channels["mail"]
    assert isinstance(mail, Mail)
    assert (mail.port, mail.to) == (465, ("rig@example.com", "ds1@example.com"))
    manager = found.channels["am"]
    assert isinstance(manager, Alertmanager)
    assert manager.hold_s == 600
    assert found.channels["log"] == Lines(name="log")


def test_without_configuration_alerts_go_to_the_log_and_noise_is_not_believed_at_once() -> None:
    found = read_monitoring({})
    assert set(found.channels) == {"log"}
    for level in LEVELS:
        rule = found.rules.of(key(level))
        assert rule.channels == ("log",)
        assert (rule.raise_after, rule.of) == (DEFAULTS[level].raise_after, DEFAULTS[level].of)
    assert found.rules.of(key("service")).raise_after > 1
    assert found.rules.of(key("drift")).raise_after == 1


CHANNEL = '[monitor.channels.a]\nkind = "webhook"\nurl = "https://x.example"\n'
MAIL = '[monitor.channels.a]\nkind = "smtp"\nhost = "m"\nfrom = "a@b.example"\nto = ["c@d.example"]\n'


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("[monitor]\nnotfy = []", "monitor.notfy: no such key; known are notify"),
        ('[monitor]\nnotify = ["team"]', "there is no channel 'team'; known are log"),
        ('[[monitor.rules]]\nlevel = "mood"', r"rules\[1\].level='mood': there is no such level"),
        ("[[monitor.rules]]\nraise_after = 3\nof = 2", r"rules\[1\]: raise_after=3 of=2"),
        ("[[monitor.rules]]\nraise_after = 0", "must be a whole number from 1 to 100"),
        ("[[monitor.rules]]\nclear_after = true", "must be a whole number"),
        ('[[monitor.rules]]\nagain = "soon"', "again='soon': write how long"),
        ('[[monitor.rules]]\nagain = "9999w"', "from 0 to 10 years"),
        ('[[monitor.rules]]\nnotify = ["team"]', "channels are named by `channels`"),
        ('[[monitor.rules]]\nnotify = ["green"]', "choose of grey, orange, red"),
        ('[[monitor.rules]]\nchannels = ["nobody"]', "there is no channel 'nobody'"),
        ("[[monitor.rules]]\n[[monitor.rules]]\ndeploiment = 'x'", r"rules\[2\].deploiment: no such key"),
        ('[monitor.channels."A b"]\nkind = "log"', "channel name 'A b'"),
        ("[monitor.channels.a]\nkind = 'pager'", "choose one of webhook"),
        ("[monitor.channels.a]\nkind = 'webhook'", "give one of url, url_env and url_file"),
        (CHANNEL + "url_env = 'X'", "give one of url, url_env and url_file"),
        (CHANNEL + "secret = 'x'", "channels.a.secret: no such key"),
        (CHANNEL + "secret_env = 'A'\nsecret_file = 'b'", "not both"),
        (CHANNEL.replace("https://x.example", "ftp://x"), "must begin with http"),
        (CHANNEL.replace("https://x.example", "https://me:pw@x.example"), "names a user"),
        (CHANNEL.replace("https://x.example", "https://x:port"), "[Pp]ort"),
        (CHANNEL + "timeout = 1000", "from 0.1 to 30 seconds"),
        (MAIL.replace('"a@b.example"', '"Me <a@b.example>"'), "write an address such as"),
        (MAIL.replace('"c@d.example"', '"c@d.example\\r\\nBcc: x@y.example"'), "write an address such as"),
        (MAIL.replace('["c@d.example"]', "[]"), "a.to=''"),
        (MAIL.replace('"m"', '"a b"'), "name the mail server"),
        (MAIL + "user = 'x'", "go together"),
        (MAIL + "user = 'x'\npassword_env = 'P'\ntls = 'none'", "for all to read"),
        (MAIL + "tls = 'maybe'", "choose one of starttls"),
        (MAIL + "port = 0", "from 1 to 65535"),
        ("[monitor.channels.a]\nkind = 'alertmanager'\nurl = 'http://a'\nhold = '5s'", "must be a minute or more"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, toml: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        read(tmp_path, toml)


@pytest.mark.parametrize("way", ["secret_env", "token_env", "url_env"])
def test_a_secret_put_where_its_variable_is_named_is_not_echoed(tmp_path: Path, way: str) -> None:
    toml = CHANNEL.replace("url = ", "url_env = ") if way == "url_env" else CHANNEL + f"{way} = 'hunter2-!'"
    with pytest.raises(BadInput, match="name of a variable") as caught:
        read(tmp_path, toml)
    assert "hunter2" not in str(caught.value)
    assert "x.example" not in str(caught.value)


def test_secrets_are_read_when_needed_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, kept = tmp_path / "secret", Secret(file=str(tmp_path / "secret"))
    with pytest.raises(Unavailable, match="cannot be read: No such file"):
        kept.read()
    file.write_text("first\n")
    assert kept.read() == "first"
    file.write_text("second\r\n")
    assert kept.read() == "second"
    file.write_text("two\nlines")
    with pytest.raises(Unavailable, match="one line of text"):
        kept.read()
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(Unavailable, match="it is no text"):
        kept.read()
    with pytest.raises(Unavailable, match="variable NOT_SET cannot be read: it is not set"):
        Secret(env="NOT_SET").read()
    plain = Webhook(name="w", url=Secret(plain="https://hooks.example/T0/hunter2"))
    assert "hunter2" not in f"{plain!r} {address(plain)}"
    assert address(plain) == "https://hooks.example"


@given(st.text(min_size=1), st.text(min_size=1))
def test_the_exact_pattern_fits_its_key_and_no_other(rule: str, other: str) -> None:
    pattern = exactly(key(rule=rule))
    assert pattern.fits(key(rule=rule))
    assert pattern.fits(key(rule=other)) == (rule == other)
    assert not pattern.fits(key(rule=rule, deployment="cooler"))
