"""What the ledger says ran somewhere, as a value: the versions with their digests, traffic and replicas. Pure.

Written by `running.composition`; read by history, as-of and rollback.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlflow_hydraulic.errors import Untrusted
from mlflow_hydraulic.plan import Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One version as it ran: pinned by digest, with its traffic in percent and its replicas."""

    version: int
    digest: str
    uri: str = ""
    traffic: int = 100
    replicas: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """What answered for one model in one environment, and the shadow beside it."""

    model: str
    predictors: tuple[Part, ...]
    shadow: Part | None = None

    @property
    def wanted(self) -> Wanted:
        """The same in the plan's words, without digests."""
        return Wanted(
            arms=tuple((part.version, part.traffic) for part in self.predictors),
            challenger=self.shadow.version if self.shadow else None,
            replicas=tuple((part.version, part.replicas) for part in self.predictors),
        )

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions that answered, in the order of the predictors."""
        return tuple(part.version for part in self.predictors)

    @property
    def parts(self) -> tuple[Part, ...]:
        return (*self.predictors, self.shadow) if self.shadow else self.predictors

    def __str__(self) -> str:
        return str(self.wanted)


def read_composition(value: object) -> Composition | None:
    """The composition in the `before` or `after` of a ledger row of verb "runs"; None where nothing ran.

    Raises `Untrusted` where the value is no composition: somebody wrote into the ledger by hand.
    """
    if value is None:
        return None
    try:
        if not isinstance(value, Mapping):
            raise TypeError(f"it is {type(value).__name__}")
        shadow = value.get("shadow")
        return Composition(
            model=str(value["model"]),
            predictors=tuple(_part(part) for part in value["predictors"]),
            shadow=_part(shadow) if shadow is not None else None,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Untrusted(
            f'the ledger says that something ran which is no composition ({error}): run "hydraulic ledger verify"'
        ) from error


def _part(value: Mapping[str, object]) -> Part:
    return Part(
        version=int(str(value["version"])),
        digest=str(value["digest"]),
        uri=str(value["uri"]),
        traffic=int(str(value["traffic"])),
        replicas=int(str(value["replicas"])),
    )
