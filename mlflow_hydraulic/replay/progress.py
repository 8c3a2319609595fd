"""How far a replay got, in a file that survives a kill: one line before a row is sent, one when it was answered.

{"version": 1, ...}     the head
s 17 1700000000.1       row 17 is about to be sent
d 17 200 1700000000.2   it was answered with 200
t 17                    its true value was brought
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow_hydraulic.errors import BadData, Conflict


@dataclass(slots=True)
class Seen:
    """What stands in the file. answered: position to (status, time); doubtful: sent, and nobody knows what became."""

    generation: int = 0
    answered: dict[int, tuple[int, float]] = field(default_factory=dict)
    brought: set[int] = field(default_factory=set)
    doubtful: int | None = None
    finished: bool = False

    @property
    def next(self) -> int:
        return max(self.answered, default=-1) + 1


class Progress:
    """One open file, locked: two replays of the same rows to the same place would count twice.

    key: what is replayed (`run.key_of`).
    """

    def __init__(self, path: Path, key: str) -> None:
        self.key = key
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._file)
            raise Conflict(f"{path}: another replay sends these rows there now") from error
        self.seen = read_progress(path)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def id_of(self, position: int) -> str:
        """The prediction id of a row: the same whenever the same is replayed, but where it is wanted again."""
        return f"replay-{self.key}-{self.seen.generation}-{position}"

    def begin(self, generation: int) -> None:
        """Forget what was there."""
        os.ftruncate(self._file, 0)
        self.seen = Seen(generation=generation)
        self._write(json.dumps({"version": 1, "generation": generation}))

    def go_on(self) -> None:
        """Take a line away that a kill tore."""
        os.ftruncate(self._file, self.path.read_bytes().rfind(b"\n") + 1)

    def sending(self, position: int, at: float) -> None:
        self._write(f"s {position} {at:.6f}")

    def answered(self, position: int, status: int, at: float) -> None:
        self.seen.answered[position] = (status, at)
        self._write(f"d {position} {status} {at:.6f}")

    def brought(self, position: int) -> None:
        self.seen.brought.add(position)
        self._write(f"t {position}")

    def finish(self) -> None:
        self._write("end")

    def _write(self, line: str) -> None:
        os.write(self._file, line.encode() + b"\n")


def read_progress(path: Path) -> Seen:
    """What is in the file; an empty one says nothing. A torn line at its end is left out."""
    lines = path.read_bytes().decode("ascii", "replace").split("\n")
    if not lines[0]:
        return Seen()
    try:
        head: dict[str, Any] = json.loads(lines[0])
        seen = Seen(generation=int(head["generation"]))
    except (ValueError, KeyError, TypeError) as error:
        raise BadData(str(path), "no progress of a replay: delete it") from error
    for line in lines[1:-1]:
        _read(line.split(), seen)
    return seen


def _read(words: list[str], seen: Seen) -> None:
    try:
        if words[:1] == ["s"]:
            float(words[2])
            seen.doubtful = int(words[1])
        elif words[:1] == ["d"]:
            seen.answered[int(words[1])] = (int(words[2]), float(words[3]))
            seen.doubtful = None
        elif words[:1] == ["t"]:
            seen.brought.add(int(words[1]))
        seen.finished = words == ["end"]
    except (ValueError, IndexError):
        return  # torn
