"""A log-in as a signed cookie: who, since when, and a mark of the password that ends with it. Used by `gate`.

Nothing of it is kept on the server: every worker reads every cookie. It lives for two hours from the last request,
which renews it, and for twelve from the log-in.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec
from itsdangerous import BadData, URLSafeSerializer

from mlflow_hydraulic.clock import utc_now

IDLE_S = 2 * 3600
WHOLE_S = 12 * 3600
RENEW_S = 300  # a cookie of this age is written anew
SKEW_S = 60  # between the clocks of two servers
LONGEST = 4000  # characters of a cookie that browsers keep


@dataclass(frozen=True, kw_only=True)
class Held:
    """One log-in. mark: of the user's password as it was; began_s, seen_s: Unix seconds."""

    user: str
    id: str
    mark: str
    began_s: int
    seen_s: int

    @property
    def ends_s(self) -> int:
        """When it ends at the latest."""
        return self.began_s + WHOLE_S


class Signer:
    """Signs and reads what a browser keeps for us, each purpose with a key of its own."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        # two servers on one host share its cookies, whatever their ports: each has names of its own
        self.suffix = hashlib.sha256(b"hydraulic cookie names\0" + self._secret).hexdigest()[:8]

    def write(self, purpose: str, value: object) -> str:
        written = URLSafeSerializer(self._secret, salt=f"hydraulic.{purpose}").dumps(value)
        return written if isinstance(written, str) else written.decode()

    def read(self, purpose: str, text: str) -> object:
        """What was written for the same purpose; None for anything else."""
        if not text or len(text) > LONGEST:
            return None
        try:
            return URLSafeSerializer(self._secret, salt=f"hydraulic.{purpose}").loads(text)
        except BadData:
            return None

    def mark(self, purpose: str, text: str) -> str:
        """A short keyed digest of `text`."""
        return hmac.new(self._secret, f"{purpose}\0{text}".encode(), "sha256").hexdigest()[:32]


class Sessions:
    """Begins, writes, reads and renews log-ins."""

    def __init__(self, signer: Signer, now: Callable[[], datetime] = utc_now) -> None:
        self._signer, self._now = signer, now
        self.cookie = f"hydraulic_session_{signer.suffix}"

    def now_s(self) -> int:
        return int(self._now().timestamp())

    def mark(self, user: str, password_hash: str) -> str:
        """What a session of `user` holds of the password: another password, another mark."""
        return self._signer.mark("password", f"{user}\0{password_hash}")

    def begin(self, user: str, password_hash: str) -> Held:
        now = self.now_s()
        return Held(user=user, id=secrets.token_hex(16), mark=self.mark(user, password_hash), began_s=now, seen_s=now)

    def write(self, held: Held) -> str:
        return self._signer.write("session", [held.user, held.id, held.mark, held.began_s, held.seen_s])

    def read(self, text: str) -> Held | None:
        """The log-in in a cookie; None where it is not ours, or has run out."""
        try:
            user, identity, mark, began, seen = msgspec.convert(
                self._signer.read("session", text), tuple[str, str, str, int, int]
            )
        except msgspec.ValidationError:
            return None
        now = self.now_s()
        if not (began - SKEW_S <= now < began + WHOLE_S and seen - SKEW_S <= now < seen + IDLE_S):
            return None
        return Held(user=user, id=identity, mark=mark, began_s=began, seen_s=seen)

    def renewed(self, held: Held) -> Held | None:
        """The same log-in as seen now, where its cookie is old enough to be written again."""
        now = self.now_s()
        return replace(held, seen_s=now) if now - held.seen_s >= RENEW_S else None
