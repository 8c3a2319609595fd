"""The peer of our router: aiohttp's server and client as a plain proxy in front of one scorer.

    python -m benchmarks.aiohttp_proxy PORT SCORER_PORT

It does less than the router: no ids, no counts, no shares, no limit, no second try. Needs only aiohttp and uvloop.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

import aiohttp
import uvloop
from aiohttp import web

CLIENT = web.AppKey("client", aiohttp.ClientSession)


def application(scorer: str) -> web.Application:
    """Passes every request on to `scorer`, as http://HOST:PORT, and the whole answer back."""

    async def passed_on(request: web.Request) -> web.Response:
        headers = {"Content-Type": request.headers.get("Content-Type", "application/octet-stream")}
        asking = request.app[CLIENT].request(
            request.method, scorer + request.path_qs, data=await request.read() or None, headers=headers
        )
        async with asking as answer:
            kept = {"Content-Type": answer.headers.get("Content-Type", "application/octet-stream")}
            return web.Response(status=answer.status, headers=kept, body=await answer.read())

    async def client(app: web.Application) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False) as session:
            app[CLIENT] = session
            yield

    app = web.Application()
    app.cleanup_ctx.append(client)
    app.router.add_route("*", "/{path:.*}", passed_on)
    return app


if __name__ == "__main__":
    proxy = application(f"http://127.0.0.1:{sys.argv[2]}")
    web.run_app(
        proxy, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None, loop=uvloop.new_event_loop()
    )
