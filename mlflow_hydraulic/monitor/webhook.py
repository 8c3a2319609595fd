"""The webhook channel: a body that Slack and Mattermost show, with everything for programs beside it, signed.

X-Hydraulic-Signature is "sha256=" and the HMAC of timestamp, "." and body, in hex; `verify` is the receiver's side.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from mlflow_hydraulic.errors import Untrusted
from mlflow_hydraulic.monitor.channels import Webhook
from mlflow_hydraulic.monitor.notification import Notification
from mlflow_hydraulic.monitor.post import post

DELIVERY, TIMESTAMP, SIGNATURE = "X-Hydraulic-Delivery", "X-Hydraulic-Timestamp", "X-Hydraulic-Signature"
HEX = {"red": "#d62728", "orange": "#ff9f1c", "green": "#2ca02c", "grey": "#8c8c8c"}
TOLERANCE_S = 300.0


def send(channel: Webhook, said: Notification, now: datetime) -> str:
    """What the receiver answered. `Later` and `Failed` as `post` raises them."""
    body = json.dumps(payload(said)).encode()
    headers = {DELIVERY: said.id}
    if channel.secret:
        stamp = str(int(now.timestamp()))
        headers |= {TIMESTAMP: stamp, SIGNATURE: signature(channel.secret.read(), stamp, body)}
    return post(
        channel.url,
        body,
        headers,
        token=channel.token,
        ca_file=channel.ca_file,
        timeout_s=channel.timeout_s,
        now=now,
    )


def payload(said: Notification) -> dict[str, Any]:
    """`text` and `attachments` are Slack's; "hydraulic" holds the notification as it is."""
    title = f"*{_slack(said.title)}*"
    lines = "\n".join(_slack(line) for line in said.lines)
    return {
        "text": title,
        "attachments": [{"color": HEX[said.colour], "text": lines, "fallback": lines}],
        "hydraulic": asdict(said),
    }


def _slack(text: str) -> str:
    """Slack obeys <!channel> and links in brackets: these three characters must be written so."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def signature(secret: str, timestamp: str, body: bytes) -> str:
    signed = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"sha256={signed.hexdigest()}"


def verify(secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
    """For whoever receives: `Untrusted` unless `body` was signed with `secret` in the last five minutes.

    headers: by their names as they are written here. Drop what came before: keep the X-Hydraulic-Delivery ids.
    """
    stamp = headers.get(TIMESTAMP, "")
    if not stamp.isdecimal() or abs(now.timestamp() - int(stamp)) > TOLERANCE_S:
        raise Untrusted(f"{TIMESTAMP} {stamp[:20]!r}: missing, or more than {TOLERANCE_S:.0f} s off")
    if not hmac.compare_digest(signature(secret, stamp, body).encode(), headers.get(SIGNATURE, "").encode()):
        raise Untrusted(f"{SIGNATURE} does not fit the body: it was changed, or signed with another secret")
