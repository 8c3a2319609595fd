"""The supervisor of one deployment: brings what runs to what spec.json says, and keeps it there. Run by `daemon`.

Level-triggered: a signal (SIGHUP) or a second's pause makes it look at spec.json; what it does depends on what it finds
there and on what runs, not on how it came to be. A change that fails leaves what serves as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import uvloop

from mlflow_hydraulic.deploy_targets.local.counts import merged
from mlflow_hydraulic.deploy_targets.local.folder import Folder, Options, Scorer, Seen, Wanted, tail
from mlflow_hydraulic.deploy_targets.local.front import Front
from mlflow_hydraulic.deploy_targets.local.plan import judge, plan_scorers, restart_delay_s
from mlflow_hydraulic.deploy_targets.local.router import Router
from mlflow_hydraulic.deploy_targets.local.scorers import Broken, Launch, Slot
from mlflow_hydraulic.deploy_targets.local.shipping import Shipping
from mlflow_hydraulic.deploy_targets.local.table import Replica, Table
from mlflow_hydraulic.deploy_targets.local.upstream import Lost
from mlflow_hydraulic.deployment import Deployment, Predictor
from mlflow_hydraulic.errors import BadInput, HydraulicError
from mlflow_hydraulic.exposition import of_process, page
from mlflow_hydraulic.record.recorder import LOCAL, Place
from mlflow_hydraulic.settings import Settings

LOOK_S = 1.0
LOGS_KEPT = 20
METRICS_TIMEOUT_S = 2.0
log = logging.getLogger(__name__)


def supervise(folder: Folder, settings: Settings, command: tuple[str, ...]) -> None:
    """Supervises until SIGTERM or until spec.json says that it is to stop; returns when every scorer has ended."""
    uvloop.run(Supervisor(folder, settings, command).run())


class Supervisor:
    """One deployment. `seen` is what state.json says."""

    def __init__(self, folder: Folder, settings: Settings, command: tuple[str, ...]) -> None:
        self._folder = folder
        self._settings = settings
        self._seen = folder.read_seen() or Seen()
        self._written: Seen | None = None
        self._serving: Deployment | None = None
        self._slots: dict[str, Slot] = {}
        self._number = 0
        self._look = asyncio.Event()
        self._end = asyncio.Event()
        # Only this process holds the writing end: scorers see it close when this process ends, however it does.
        reading, self._pipe = os.pipe()
        self._launch = Launch(
            settings=settings,
            command=command,
            pipe=reading,
            changed=self._on_change,
            ended=self._on_end,
            place=Place(target=LOCAL, namespace=folder.namespace, deployment=folder.name),
        )
        self._shipping = Shipping(settings, reading)
        limit = int(settings.max_body_mb * 1e6)
        self._router = Router(folder.namespace, folder.name, limit, self._metrics)
        self._front = Front(self._router, settings.drain_timeout_s)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._look.set)
        self._seen = replace(self._seen, scorers=(), state="launching", cause="", log=())
        change = None
        generation, failures, next_try = -1, 0, 0.0
        while not self._end.is_set():
            self._look.clear()
            wanted = self._read()
            if wanted is not None and wanted.running != "yes":
                break
            if wanted is not None and wanted.generation != generation:
                generation, failures = wanted.generation, 0
                await _called_off(change)
                change = asyncio.create_task(self._change(wanted))
            elif wanted is not None and self._serving is None and change is not None and change.done():
                # Nothing serves: try again, for what failed may have been the machine.
                if not next_try:
                    failures += 1
                    next_try = time.monotonic() + restart_delay_s(failures + 3, 0.0)
                elif time.monotonic() >= next_try:
                    next_try = 0.0
                    change = asyncio.create_task(self._change(wanted))
            self._write(changing=change is not None and not change.done())
            await self._shipping.look()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._look.wait(), LOOK_S)
        await _called_off(change)
        await self._shut_down()

    def _read(self) -> Wanted | None:
        try:
            return self._folder.read_wanted()
        except (BadInput, OSError) as error:
            log.error("spec.json is left aside: %s", error)  # noqa: TRY400 - a cause that is known
            return None

    async def _change(self, wanted: Wanted) -> None:
        """Carries out `wanted`; what was refused before, or fails now, makes way for what served last."""
        last_good = self._seen.serving
        other = last_good is not None and last_good != wanted.deployment
        if not (other and wanted.generation == self._seen.refused and self._serving is None):
            try:
                await self._roll_out(wanted.deployment, wanted.options)
            except (HydraulicError, OSError) as error:
                log.error("generation %d failed: %s", wanted.generation, error)  # noqa: TRY400 - a known cause
                lines = error.lines if isinstance(error, Broken) else ()
                self._seen = replace(self._seen, refused=wanted.generation, refused_cause=str(error), refused_log=lines)
            else:
                self._seen = replace(
                    self._seen, generation=wanted.generation, refused=0, refused_cause="", refused_log=()
                )
                self._look.set()
                return
        if self._serving is None and last_good is not None and other:
            with contextlib.suppress(HydraulicError, OSError):
                await self._roll_out(last_good, wanted.options)
        self._seen = replace(self._seen, generation=wanted.generation)
        self._look.set()

    async def _roll_out(self, desired: Deployment, options: Options) -> None:
        """Starts what is missing, waits until it is ready and warm, switches over, then stops what is not needed.

        Raises before anything was switched, with what was started stopped again.
        """
        port = await self._front.bind(options.host, options.port or self._seen.port)
        running = {s.id: (s.predictor, s.identity) for s in self._slots.values()}
        plan = plan_scorers(desired, running, options.engine)
        log.info("plan: %s", plan)
        fresh = [self._slot(predictor, options.engine) for predictor in plan.start]
        try:
            await _all([slot.start() for slot in fresh])
        except BaseException:  # also when this change is called off
            await asyncio.gather(*(slot.stop() for slot in fresh))
            await self._front.forget()
            raise
        for slot in fresh:
            self._slots[slot.id] = slot
        for slot_id, predictor in plan.assigned.items():
            self._slots[slot_id].predictor = predictor
        retired = [self._slots.pop(slot_id) for slot_id in plan.stop]
        self._serving = desired
        self._seen = replace(self._seen, serving=desired, host=options.host, port=port)
        self._router.swap(Table(desired, self._replicas()))
        await asyncio.shield(self._retire(retired))

    async def _retire(self, retired: list[Slot]) -> None:
        await asyncio.gather(self._front.switch(), *(slot.stop() for slot in retired))
        logs = sorted(self._folder.logs.glob("*.log*"), key=lambda path: path.stat().st_mtime)
        in_use = {slot.log_file.stem for slot in self._slots.values()}
        for path in [p for p in logs if p.name.split(".")[0] not in in_use][:-LOGS_KEPT]:
            path.unlink(missing_ok=True)

    def _slot(self, predictor: Predictor, engine: str) -> Slot:
        self._number += 1
        slot_id = f"s{self._number}"
        model = predictor.model
        log_file = self._folder.logs / f"{slot_id}-{predictor.name}-v{_plain(model.version)}.log"
        return Slot(slot_id, model, predictor.name, engine=engine, log_file=log_file, launch=self._launch)

    def _replicas(self) -> dict[str, list[Replica]]:
        replicas: dict[str, list[Replica]] = {}
        for slot in self._slots.values():
            replicas.setdefault(slot.predictor, []).append(slot.replica)
        return replicas

    def _on_change(self) -> None:
        self._router.wake()
        self._look.set()

    def _on_end(self, predictor: str) -> None:
        self._router.counts.restarts[predictor] += 1

    def _stop(self) -> None:
        self._end.set()
        self._look.set()

    def _write(self, *, changing: bool) -> None:
        """Writes state.json when something changed. A full disk must not stop what serves: it is tried again."""
        slots = list(self._slots.values())
        scorers = tuple(
            Scorer(
                id=s.id,
                predictor=s.predictor,
                version=s.model.version,
                pid=s.pid,
                port=s.replica.upstream.port,
                ready=s.replica.ready,
                crashes=s.crashes,
            )
            for s in slots
        )
        if self._serving is not None:
            ready = {p.name: sum(s.replica.ready for s in slots if s.predictor == p.name) for p in self._serving.all}
            wanted = {p.name: p.replicas for p in self._serving.all}
            down = [s for s in slots if not s.replica.ready]
            state, cause = judge(wanted, ready, [s.crashes for s in down])
            cause = "; ".join(filter(None, (cause, *(s.why for s in down))))
            lines = _tail_of(down)
            self._seen = replace(self._seen, state=state, cause=cause, log=lines, scorers=scorers)
        elif changing:
            self._seen = replace(self._seen, state="launching", cause="", log=(), scorers=())
        elif self._seen.refused and self._seen.refused == self._seen.generation:
            cause, lines = self._seen.refused_cause, self._seen.refused_log
            self._seen = replace(self._seen, state="failed", cause=cause, log=lines, scorers=())
        if self._seen != self._written:
            try:
                self._folder.write_seen(self._seen)
                self._written = self._seen
            except HydraulicError as error:
                log.error("%s", error)  # noqa: TRY400 - a known cause

    async def _metrics(self) -> str:
        slots = [slot for slot in self._slots.values() if slot.replica.ready]
        texts = await asyncio.gather(*(_metrics_of(slot) for slot in slots))
        same = {"namespace": self._folder.namespace, "deployment": self._folder.name}
        scorers = [{**same, "predictor": slot.predictor, "replica": slot.id} for slot in slots]
        own = ({**same, "replica": "router"}, page(of_process("router")))
        return merged([own, *zip(scorers, texts, strict=True)])

    async def _shut_down(self) -> None:
        await self._front.close()
        await asyncio.gather(*(slot.stop() for slot in self._slots.values()))
        await self._shipping.stop()
        self._seen = replace(self._seen, scorers=(), state="terminating", cause="")
        with contextlib.suppress(HydraulicError):
            self._folder.write_seen(self._seen)
        log.info("stopped")


async def _called_off(change: asyncio.Task[None] | None) -> None:
    if change is not None and not change.done():
        change.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await change


async def _all(starting: list[Coroutine[Any, Any, None]]) -> None:
    """Waits for all; the first failure calls off the others and is raised."""
    tasks = [asyncio.create_task(start) for start in starting]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _metrics_of(slot: Slot) -> str:
    try:
        reply = await slot.replica.upstream.get("/metrics", METRICS_TIMEOUT_S)
    except (Lost, TimeoutError):
        return ""
    return reply.body.decode("utf-8", "replace") if reply.status == 200 else ""


def _tail_of(slots: list[Slot]) -> tuple[str, ...]:
    crashed = next((slot for slot in slots if slot.crashes), None)
    return tail(crashed.log_file) if crashed else ()


def _plain(version: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in version)[:40]
