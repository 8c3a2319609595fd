"""Kills a recording scorer under load and compares what callers got with what the journal has. Used by `recording`
and, with fewer kills, by tests/integration/test_record_kills.py."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.servers import await_ready, free_port
from mlflow_hydraulic.record.segments import chunk_of, segments

SERVED = "bench/bench/forest/default/s1"
CONNECTIONS = 16


@dataclass
class Tally:
    """Ids whose answer a caller got whole; ids in the journals; bytes of these that are no frame."""

    acknowledged: set[str] = field(default_factory=set)
    recorded: set[str] = field(default_factory=set)
    torn_bytes: int = 0

    @property
    def lost(self) -> int:
        return len(self.acknowledged - self.recorded)


def recording(folder: Path, mode: str = "on") -> dict[str, str]:
    """The environment of a scorer that records under `folder`."""
    return {"HYDRAULIC_RECORD": mode, "HYDRAULIC_RECORD_FOLDER": str(folder), "HYDRAULIC_SERVED": SERVED}


def kill_again_and_again(model: Path, body: bytes, folder: Path, kills: int) -> Tally:
    """`kills` scorers of `model`, one after another, each killed by SIGKILL at a random moment under load."""
    tally = Tally()
    folder.mkdir(parents=True, exist_ok=True)
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    request = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    for _ in range(kills):
        port = free_port()
        command = [sys.executable, "-m", "mlflow_hydraulic.cli", "serve", str(model), "--port", str(port)]
        with (folder / "log").open("ab") as log:
            scorer = subprocess.Popen(command, stderr=log, env={**os.environ, **recording(folder / "record")})
        try:
            await_ready(scorer, f"http://127.0.0.1:{port}/v2/health/ready", folder / "log")
            after_s = random.uniform(0.05, 0.4)  # noqa: S311 - a moment, no secret
            tally.acknowledged |= asyncio.run(_load_until_killed(scorer, port, request, after_s))
        finally:
            scorer.kill()
            scorer.wait()
    tally.recorded, tally.torn_bytes = recorded_ids(folder / "record" / "journal")
    return tally


def recorded_ids(folder: Path) -> tuple[set[str], int]:
    """The ids in a folder's segments, and how many bytes of them are no frame."""
    ids: set[str] = set()
    lost = 0
    for segment in segments(folder):
        head, start, size = segment.head(), 0, segment.path.stat().st_size
        while start < size:
            data = segment.bytes_from(start)
            chunk = chunk_of(segment.name, head, start, data, final=start + len(data) == size)
            ids.update(entry.id for entry in chunk.entries)
            lost += chunk.lost
            start = chunk.end
    return ids, lost


async def _load_until_killed(scorer: subprocess.Popen[bytes], port: int, request: bytes, after_s: float) -> set[str]:
    """The ids of the answers that came whole before the scorer was killed."""
    got: set[str] = set()
    asking = [asyncio.create_task(_ask(port, request, got)) for _ in range(CONNECTIONS)]
    await asyncio.sleep(after_s)
    scorer.kill()
    await asyncio.gather(*asking)
    return got


async def _ask(port: int, request: bytes, got: set[str]) -> None:
    """Ask on one connection until it breaks."""
    with suppress(OSError, asyncio.IncompleteReadError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            while True:
                writer.write(request)
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(_header(head, b"content-length")))
                if head.startswith(b"http/1.1 200"):
                    got.add(_header(head, b"x-prediction-id").decode())
        finally:
            writer.close()
            await writer.wait_closed()


def _header(head: bytes, name: bytes) -> bytes:
    return head.split(b"\r\n" + name + b": ")[1].split(b"\r\n")[0]
