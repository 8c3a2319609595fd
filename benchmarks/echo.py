"""The floor: an ASGI application that sends each body back, on the very server configuration of a scorer.

What our scorer's requests/s are held against: `python -m benchmarks.echo PORT`.
"""

from __future__ import annotations

import logging
import sys

import uvicorn

from mlflow_hydraulic.scoring.asgi import Scope, Send
from mlflow_hydraulic.scoring.reading import Receive
from mlflow_hydraulic.scoring.server import configure, listen


async def echo(_: Scope, receive: Receive, send: Send) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    logging.getLogger("uvicorn.access").propagate = False  # as `scoring.server.serve` does
    uvicorn.Server(configure(echo)).run(sockets=[listen("127.0.0.1", int(sys.argv[1]))])
