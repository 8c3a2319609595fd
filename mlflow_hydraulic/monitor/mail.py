"""The mail channel: SMTP, encrypted unless configured otherwise. A mailbox shows the mails of one incident as a thread.

The subject stays the same for that, so the colour is the first word of the text, and a header for filters.
"""

from __future__ import annotations

import smtplib
import ssl
from contextlib import suppress
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime

from mlflow_hydraulic.errors import Failed
from mlflow_hydraulic.monitor.channels import Mail
from mlflow_hydraulic.monitor.notification import Notification, one_line, shown_time
from mlflow_hydraulic.monitor.post import OVERTIME_S, SHOWN_ANSWER, Later, within

MESSAGE_REFUSED = (501, 552, 553, 554)  # to the message itself: the same again would be refused again
LONGEST_SUBJECT = 200


def send(channel: Mail, said: Notification, now: datetime) -> str:
    """What the mail server answered. `Later` where another try may help, `Failed` where it refused this very mail."""
    message = compose(channel, said, now)
    password = channel.password.read() if channel.password else ""
    try:
        return within(3 * channel.timeout_s + OVERTIME_S, lambda: _send(channel, message, password))
    except smtplib.SMTPDataError as error:
        kind = Failed if error.smtp_code in MESSAGE_REFUSED else Later
        raise kind(f"{channel.host} refused the mail: {_answer(error.smtp_code, error.smtp_error)}") from error
    except smtplib.SMTPAuthenticationError as error:
        raise Later(f"{channel.host} does not accept user and password ({error.smtp_code})") from None  # may echo them
    except smtplib.SMTPRecipientsRefused as error:
        refused = "; ".join(f"{who}: {_answer(*why)}" for who, why in error.recipients.items())
        raise Later(f"{channel.host} refused every address: {refused}") from error
    except smtplib.SMTPResponseException as error:
        raise Later(f"{channel.host} answered {_answer(error.smtp_code, error.smtp_error)}") from error
    except ssl.SSLError as error:
        raise Later(f"{channel.host}: no TLS with it: {error.reason or error}; see ca_file") from error
    except TimeoutError as error:
        raise Later(f"{channel.host}: no answer within {channel.timeout_s:g} s") from error
    except (smtplib.SMTPException, OSError) as error:
        raise Later(f"{channel.host}:{channel.port}: {one_line(str(error))[:SHOWN_ANSWER]}") from error


def compose(channel: Mail, said: Notification, now: datetime) -> EmailMessage:
    """The mail. Every header is one printable line, whatever names and causes hold."""
    domain = channel.sender.rpartition("@")[2]
    thread = f"<{said.incident_id}.incident@{domain}>"
    message = EmailMessage()
    message["From"] = channel.sender
    message["To"] = ", ".join(channel.to)
    message["Subject"] = subject(said)
    message["Date"] = format_datetime(now)
    message["Message-ID"] = f"<{said.id}@{domain}>"
    message["In-Reply-To"] = thread
    message["References"] = thread
    message["Auto-Submitted"] = "auto-generated"
    message["X-Hydraulic-Delivery"] = said.id
    message["X-Hydraulic-Colour"] = said.colour
    message.set_content(text(said), cte="quoted-printable")
    return message


def subject(said: Notification) -> str:
    """The same for all mails of one incident: mailboxes group by it as well."""
    test = "TEST " if said.test else ""
    since = shown_time(said.incident)
    return one_line(f"[hydraulic] {test}{said.environment.upper()} {said.deployment} since {since}")[:LONGEST_SUBJECT]


def text(said: Notification) -> str:
    """Title, one paragraph for each alert, and what to do with it."""
    listed = "\n\n".join(said.lines)
    ids = [item.alert["id"] for item in said.items if item.news != "closed"]
    ways = (
        f"hydraulic alerts show {ids[0]}\nhydraulic alerts ack {ids[0]} --reason ..." if ids and not said.test else ""
    )
    model = f"Model {said.model}. " if said.model else ""
    return one_line(said.title) + f"\n\n{listed}\n\n{one_line(model)}{shown_time(said.at)}.\n{ways}\n"


def _send(channel: Mail, message: EmailMessage, password: str) -> str:
    trust = ssl.create_default_context(cafile=channel.ca_file or None)
    if channel.tls == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(channel.host, channel.port, timeout=channel.timeout_s, context=trust)
    else:
        server = smtplib.SMTP(channel.host, channel.port, timeout=channel.timeout_s)
    try:
        if channel.tls == "starttls":
            server.starttls(context=trust)
        if channel.user:
            server.login(channel.user, password)
        refused = server.send_message(message, channel.sender, list(channel.to))
        with suppress(smtplib.SMTPException, OSError):  # the mail was accepted: nothing may send it again
            server.quit()
    finally:
        server.close()
    some = "; ".join(f"{who} refused: {_answer(*why)}" for who, why in refused.items())
    return f"accepted for {len(channel.to) - len(refused)} of {len(channel.to)}" + (f"; {some}" if some else "")


def _answer(code: int, text: bytes | str) -> str:
    said = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return one_line(f"{code} {said}")[:SHOWN_ANSWER]
