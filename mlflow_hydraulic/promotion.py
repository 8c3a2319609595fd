"""The order of promotion: which environment a version goes on to from another. Pure; for `plan` and `configuration`.

`promotes_from` alone says it; the order in the file matters only among environments that end nothing below them.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlflow_hydraulic.bindings import Environment
from mlflow_hydraulic.registry import RegisteredModel


def successors(environment: Environment, environments: Sequence[Environment]) -> list[Environment]:
    """The environments that promote from it, or from one that does; with itself where they lead back to it."""
    found: list[Environment] = []
    names = [environment.name]
    for name in names:  # it grows while we go
        for one in environments:
            if one.promotes_from == name and one not in found:
                found.append(one)
                names.append(one.name)
    return found


def beside(environment: Environment, environments: Sequence[Environment]) -> list[Environment]:
    """Those that come after it in the file and end nothing: what they ask for stays here too. None that lead to it."""
    later = environments[[one.name for one in environments].index(environment.name) + 1 :]
    return [one for one in later if not one.promotes_from and environment not in successors(one, environments)]


def asked(model: RegisteredModel, environment: Environment, served: Sequence[int]) -> set[int]:
    """Which of these versions `environment` asks for, even where a problem keeps it from getting them."""
    if not environment.looks_at(model.name):
        return set()
    return {version.number for selector in environment.champion for version in selector.matches(model)} & set(served)


def waits_for(model: RegisteredModel, successor: Environment, promoted: set[int], there: set[int]) -> str:
    """Why what was `promoted` to `successor` does not end below it yet; `there`: what answers there healthily.

    During a canary the new version answers there already, and may still be taken back.
    """
    if promoted - there:
        return f"promoted to {successor.name}, which is not healthy with it yet"
    if promoted and successor.canary and asked(model, successor, sorted(there)) != there:
        return f"promoted to {successor.name}, whose canary is not through yet"
    return ""
