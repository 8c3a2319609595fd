"""Channels against real servers: HTTP that is slow, broken, elsewhere; SMTP with TLS; who is told what, and how."""

from __future__ import annotations

import email
import email.policy
import socket
import ssl
import threading
from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.errors import Failed, Untrusted
from mlflow_hydraulic.monitor import mail, post, webhook
from mlflow_hydraulic.monitor.alert import Alert, Key
from mlflow_hydraulic.monitor.channels import Mail, Secret, Webhook
from mlflow_hydraulic.monitor.notification import Notification, notification, read_notification, write_notification
from mlflow_hydraulic.monitor.post import Later
from mlflow_hydraulic.monitor.standing import Change
from tests.support.alerting import COOLER
from tests.support.receivers import hook, mailbox, talker

NOW = utc_now()
HOSTILE = "<!channel> *PS1*\r\nBcc: evil@example.com\r\n\r\n.\r\nQUIT \x1b[2J \u202e & 🙂"


def alert(cause: str = "PS1 is 4.2 bar higher", **more: object) -> Alert:
    base = Alert(
        key=Key(subject=COOLER, level="drift", rule="inputs"),
        state="open",
        what="opened",
        colour="red",
        worst="red",
        opened=NOW.isoformat(),
        incident=NOW.isoformat(),
        cause=cause,
        at=NOW.isoformat(),
        seq=7,
    )
    return replace(base, **more)  # type: ignore[arg-type]


def said(*alerts: Alert) -> Notification:
    return notification("team", [Change(alert=one, before=None) for one in alerts or (alert(),)], NOW)


def to(url: str, **more: object) -> Webhook:
    return Webhook(name="team", url=Secret(plain=url), timeout_s=0.5, **more)  # type: ignore[arg-type]


def test_a_webhook_gets_a_signed_body_that_slack_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM_SECRET", "s3cret")
    monkeypatch.setenv("TEAM_TOKEN", "t0ken")
    with hook() as server:
        channel = to(f"{server.url}/T0/B0", secret=Secret(env="TEAM_SECRET"), token=Secret(env="TEAM_TOKEN"))
        assert webhook.send(channel, said(alert(HOSTILE)), NOW) == "200 ok"
    [got] = server.got
    assert got.path == "/T0/B0"
    assert got.headers["Authorization"] == "Bearer t0ken"
    assert got.json["text"] == "*PROD cooler: red*"
    text = got.json["attachments"][0]["text"]
    assert "&lt;!channel&gt;" in text
    assert "<!" not in text
    assert got.json["hydraulic"]["items"][0]["alert"]["cause"] == HOSTILE
    assert got.headers[webhook.DELIVERY] == got.json["hydraulic"]["id"] == said(alert(HOSTILE)).id
    webhook.verify("s3cret", got.headers, got.body, NOW + timedelta(seconds=299))
    for secret, body, now in (
        ("other", got.body, NOW),
        ("s3cret", got.body + b" ", NOW),
        ("s3cret", got.body, NOW + timedelta(seconds=400)),
    ):
        with pytest.raises(Untrusted):
            webhook.verify(secret, got.headers, body, now)


@pytest.mark.parametrize(
    ("status", "headers", "kind", "says"),
    [
        (500, {}, Later, "answered 500 busy"),
        (404, {}, Later, "answered 404"),
        (401, {}, Later, "answered 401"),
        (400, {}, Failed, "refused the message: 400 busy"),
        (413, {}, Failed, "refused the message"),
        (
            302,
            {"Location": "http://169.254.169.254/latest"},
            Later,
            "on to 169.254.169.254 .302.: that is not followed",
        ),
        (307, {"Location": "/other"}, Later, "on to another path"),
        (307, {"Location": "http://[broken"}, Later, "on to"),
    ],
)
def test_what_a_webhook_answers_decides_on_another_try(
    status: int, headers: dict[str, str], kind: type[Exception], says: str
) -> None:
    with hook() as server:
        server.answers = [(status, headers, b"busy\n\x1b[2J")]
        with pytest.raises(kind, match=says) as caught:
            webhook.send(to(f"{server.url}/T0/hunter2"), said(), NOW)
    assert type(caught.value) is kind
    assert "hunter2" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert len(server.got) == 1


@pytest.mark.parametrize(
    ("text", "wait_s"),
    [
        ("7", 7),
        ("999999999", 3600),
        ("-1", 0),
        ("soon", 0),
        ("9" * 5000, 3600),
        pytest.param(format_datetime(NOW + timedelta(seconds=60)), 60, id="a date to come"),
        pytest.param(format_datetime(NOW - timedelta(seconds=60)), 0, id="a date gone by"),
        ("Mon, 01 Jan 2001 00:00:00", 0),
    ],
)
def test_retry_after_is_honoured_within_reason(text: str, wait_s: float) -> None:
    with hook() as server:
        server.answers = [(429, {"Retry-After": text}, b"")]
        with pytest.raises(Later) as caught:
            webhook.send(to(server.url), said(), NOW)
    assert caught.value.after_s == pytest.approx(wait_s, abs=1)


@given(st.text())
def test_no_retry_after_breaks_it(text: str) -> None:
    assert 0 <= post.retry_after(text, NOW) <= 3600


def _silent(connection: socket.socket, ended: threading.Event) -> None:
    ended.wait(60)


def _dripping(connection: socket.socket, ended: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not ended.wait(0.1):
        connection.sendall(b"X-A: b\r\n")


def _endless(connection: socket.socket, ended: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while not ended.is_set():
        connection.sendall(b"x" * 65536)


def _endless_redirect(connection: socket.socket, ended: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 307 Go\r\nLocation: /x\r\n\r\n")
    while not ended.is_set():
        connection.sendall(b"x" * 65536)


def _garbage(connection: socket.socket, ended: threading.Event) -> None:
    connection.sendall(b"\x00\xff" * 999)


def test_servers_that_hang_drip_or_babble_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(post, "OVERTIME_S", 0.2)
    for say, says in (
        (_silent, "no answer within"),
        (_dripping, "did not end within|cannot be"),
        (_garbage, "127.0.0.1"),
    ):
        with talker(say) as port, pytest.raises(Later, match=says):
            webhook.send(to(f"http://127.0.0.1:{port}/hunter2"), said(), NOW)
    with talker(_endless_redirect) as port, pytest.raises(Later, match="not followed"):
        webhook.send(to(f"http://127.0.0.1:{port}"), said(), NOW)
    with talker(_endless) as port:
        assert webhook.send(to(f"http://127.0.0.1:{port}"), said(), NOW).startswith("200")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(Later, match="Connection refused"):
        webhook.send(to(f"http://127.0.0.1:{port}/hunter2"), said(), NOW)


def test_a_login_in_netrc_is_not_sent_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password hunter2\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with hook() as server:
        webhook.send(to(server.url), said(), NOW)
    assert "Authorization" not in server.got[0].headers


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, str]:
    """A server's TLS context for 127.0.0.1, and the file of who signed its certificate."""
    made, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.issue_cert("127.0.0.1").configure_cert(context)
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    made.cert_pem.write_to_path(str(file))
    return context, str(file)


def post_to(port: int, **more: object) -> Mail:
    base = Mail(
        name="mail",
        host="127.0.0.1",
        port=port,
        tls="none",
        sender="h@example.com",
        to=("a@example.com", "b@example.com"),
    )
    return replace(base, timeout_s=2.0, **more)  # type: ignore[arg-type]


def test_mails_of_one_incident_are_one_thread_and_no_header_can_be_slipped_in() -> None:
    later = [said(alert(HOSTILE)), said(alert("worse", seq=8, colour="red")), said(alert(seq=9, state="closed"))]
    with mailbox() as box:
        for one in later:
            assert mail.send(post_to(box.port), one, NOW) == "accepted for 2 of 2"
    read = [email.message_from_bytes(one.original_content or b"", policy=email.policy.default) for one in box.mails]
    assert {one.mail_from for one in box.mails} == {"h@example.com"}
    assert [one.rcpt_tos for one in box.mails] == [["a@example.com", "b@example.com"]] * 3
    assert len({str(one["References"]) for one in read}) == len({str(one["Subject"]) for one in read}) == 1
    assert len({str(one["Message-ID"]) for one in read}) == 3
    assert str(read[0]["References"]) == str(read[0]["In-Reply-To"]) == f"<{later[0].incident_id}.incident@example.com>"
    assert read[0]["Bcc"] is None
    assert read[0]["X-Hydraulic-Colour"] == "red"
    text = read[0].get_content()
    assert text.startswith("PROD cooler: red")
    assert "<!channel> *PS1*" in text
    assert "hydraulic alerts ack" in text


def test_mail_over_starttls_and_tls_with_a_login(
    authority: tuple[ssl.SSLContext, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    context, ca_file = authority
    monkeypatch.setenv("RIGHT", "right")
    monkeypatch.setenv("WRONG", "wrong-hunter2")
    with mailbox(tls_context=context, with_login=True, require_starttls=True) as box:
        channel = post_to(box.port, tls="starttls", user="me", password=Secret(env="RIGHT"), ca_file=ca_file)
        assert "2 of 2" in mail.send(channel, said(), NOW)
        with pytest.raises(Later, match="does not accept user and password") as caught:
            mail.send(replace(channel, password=Secret(env="WRONG")), said(), NOW)
        assert "hunter2" not in str(caught.value)
        with pytest.raises(Later, match="no TLS with it"):
            mail.send(replace(channel, ca_file=""), said(), NOW)
        with pytest.raises(Later, match="530"):
            mail.send(post_to(box.port), said(), NOW)
    assert (len(box.mails), box.users[:1]) == (1, [b"me"])


def test_mail_is_never_sent_in_the_clear_where_tls_was_asked_for() -> None:
    with mailbox() as box, pytest.raises(Later, match="STARTTLS"):
        mail.send(post_to(box.port, tls="starttls"), said(), NOW)
    assert box.mails == []


def test_what_a_mail_server_refuses() -> None:
    with mailbox() as box:
        box.unknown = ("b@example.com",)
        assert "accepted for 1 of 2; b@example.com refused: 550 no such user" in mail.send(
            post_to(box.port), said(), NOW
        )
        box.unknown = ("a@example.com", "b@example.com")
        with pytest.raises(Later, match="refused every address"):
            mail.send(post_to(box.port), said(), NOW)
        box.unknown = ()
        for answer, kind in (("451 later", Later), ("554 spam", Failed)):
            box.refuse = answer
            with pytest.raises(kind, match=answer):
                mail.send(post_to(box.port), said(), NOW)
    with talker(_silent) as port, pytest.raises(Later, match="timed out"):
        mail.send(replace(post_to(port), timeout_s=0.3), said(), NOW)


@given(st.text(), st.text(max_size=99), st.integers(-10_000, 10_000))
def test_any_cause_makes_a_mail_and_a_body(cause: str, rule: str, days: int) -> None:
    key = Key(subject=COOLER, level="drift", rule=rule)
    one = said(alert(cause, key=key, incident=(NOW + timedelta(days=days)).isoformat()))
    composed = mail.compose(post_to(25), one, NOW).as_bytes(policy=email.policy.SMTP)
    assert email.message_from_bytes(composed)["To"] == "a@example.com, b@example.com"
    assert composed.count(b"\nSubject:") == 1
    assert webhook.payload(one)
    assert read_notification(write_notification(one)) == one
