"""The load generator: keep-alive connections that each send the same POST again as soon as it is answered.

Runs in a process of its own (`python -m benchmarks.load HOST PORT PATH BODY_FILE ...`) and prints one JSON object.
Raw protocol on uvloop, so that it can do more than the fastest server measured; `cpu_share` tells whether it did.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from array import array
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np
import uvloop

WARM_UP_S = 0.7


@dataclass(frozen=True, kw_only=True)
class Load:
    """What one run of the generator saw; latencies in milliseconds, `cpu_share` of one core used by the generator."""

    connections: int
    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float
    not_200: int
    broken: int
    cpu_share: float


class Connection(asyncio.Protocol):
    """One connection: a request, its whole answer, the next request."""

    def __init__(self, request: bytes, tally: Tally) -> None:
        self.request, self.tally = request, tally
        self.received = b""
        self.needed = 0
        self.sent_at = 0.0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is one but does not inherit from it
        self.send()

    def send(self) -> None:
        assert self.transport is not None
        self.sent_at = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        received = self.received = self.received + data if self.received else data
        if not self.needed:
            end = received.find(b"\r\n\r\n")
            if end < 0:
                return
            self.needed = end + 4 + _content_length(received[:end])
        if len(received) < self.needed:
            return
        self.tally.answered(self.sent_at, ok=received.startswith(b"HTTP/1.1 200"))
        self.received, self.needed = b"", 0
        self.send()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio calls it so
        self.tally.broken += not self.tally.over


class Tally:
    """Latencies of the answers that were asked for after the warm-up."""

    def __init__(self) -> None:
        self.latencies = array("d")
        self.start = float("inf")
        self.not_200 = self.broken = 0
        self.over = False

    def answered(self, sent_at: float, *, ok: bool) -> None:
        if sent_at >= self.start:
            self.latencies.append(time.perf_counter() - sent_at)
        self.not_200 += not ok


def _content_length(head: bytes) -> int:
    head = head.lower()
    at = head.find(b"content-length:")
    if at < 0:
        raise ValueError(f"the answer has no Content-Length: {head[:200]!r}")
    return int(head[at + 15 :].split(b"\r\n", 1)[0])


async def generate(host: str, port: int, request: bytes, *, connections: int, seconds: float) -> Load:
    """Keep `connections` busy for `seconds` after the warm-up."""
    tally = Tally()
    loop = asyncio.get_running_loop()
    make: Callable[[], Connection] = lambda: Connection(request, tally)  # noqa: E731 - a type is wanted here
    transports = [(await loop.create_connection(make, host, port))[0] for _ in range(connections)]
    await asyncio.sleep(WARM_UP_S)
    tally.start, cpu = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    elapsed, cpu = time.perf_counter() - tally.start, time.process_time() - cpu
    tally.over = True
    for transport in transports:
        transport.abort()
    latencies = np.frombuffer(tally.latencies) if len(tally.latencies) else np.array([np.nan])
    p50, p99 = np.percentile(latencies, [50, 99]) * 1e3
    return Load(
        connections=connections,
        requests=len(tally.latencies),
        per_second=len(tally.latencies) / elapsed,
        p50_ms=float(p50),
        p99_ms=float(p99),
        not_200=tally.not_200,
        broken=tally.broken,
        cpu_share=cpu / elapsed,
    )


def run_load(port: int, path: str, body: Path, *, connections: int, seconds: float) -> Load:
    """`generate` in a process of its own, against 127.0.0.1; raises unless every answer was 200 and came whole."""
    command = [sys.executable, "-m", "benchmarks.load", "127.0.0.1", str(port), path, str(body)]
    command += ["--connections", str(connections), "--seconds", str(seconds)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    load = Load(**json.loads(done.stdout))
    if load.not_200 or load.broken or not load.requests:
        raise RuntimeError(f"port {port}{path}: the load was not answered well: {load}")
    return load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    parser.add_argument("body", type=Path)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3.0)
    given = parser.parse_args()
    body = given.body.read_bytes()
    request = (
        f"POST {given.path} HTTP/1.1\r\nHost: {given.host}:{given.port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    work = generate(given.host, given.port, request, connections=given.connections, seconds=given.seconds)
    print(json.dumps(asdict(uvloop.run(work))))


if __name__ == "__main__":
    main()
