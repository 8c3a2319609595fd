"""One notification to one channel, whatever kind it is. Called by `outbox` and by `hydraulic alerts test`."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import asdict
from datetime import datetime
from urllib.parse import urlsplit

from mlflow_hydraulic.monitor import alertmanager, mail, webhook
from mlflow_hydraulic.monitor.channels import Alertmanager, Channel, Lines, Mail, Webhook
from mlflow_hydraulic.monitor.notification import Notification

log = logging.getLogger("hydraulic.alerts")


def send(channel: Channel, said: Notification, now: datetime) -> str:
    """What the channel answered. `Unavailable` where another try may help, `Failed` where none will."""
    if isinstance(channel, Webhook):
        return webhook.send(channel, said, now)
    if isinstance(channel, Alertmanager):
        return alertmanager.send(channel, said, now)
    if isinstance(channel, Mail):
        return mail.send(channel, said, now)
    return _lines(channel, said)


def _lines(channel: Lines, said: Notification) -> str:
    if channel.kind == "stdout":
        sys.stdout.write(json.dumps(asdict(said)) + "\n")
        sys.stdout.flush()
        return "written to stdout"
    for line in said.lines:
        level = logging.INFO if line.startswith("OVER") or said.test else logging.WARNING
        log.log(level, "%s: %s", said.title, line)
    return "written to the log"


def address(channel: Channel) -> str:
    """Where it sends to, for people, without what may be secret."""
    if isinstance(channel, Mail):
        return f"{', '.join(channel.to)} by {channel.host}:{channel.port} ({channel.tls})"
    if isinstance(channel, Lines):
        return channel.kind
    parts = urlsplit(channel.url.plain)
    return f"{parts.scheme}://{parts.hostname}" if channel.url.plain else f"the address in the {channel.url.where}"
