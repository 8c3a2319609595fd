"""What `hydraulic replay` is made of: where to, which rows, what is known of them, their true values."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow_hydraulic.errors import BadInput, Failed, NotFound
from mlflow_hydraulic.settings import Settings

if TYPE_CHECKING:
    from mlflow_hydraulic.replay.asking import Asker, Known, Model
    from mlflow_hydraulic.replay.progress import Progress
    from mlflow_hydraulic.replay.rows import Rows
    from mlflow_hydraulic.replay.run import Span
    from mlflow_hydraulic.replay.truths import Truths

RATE = re.compile(r"(\d+\.?\d*|\.\d+)(?:/([smh]))?")
PERIODS = {None: 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
log = logging.getLogger("hydraulic.replay")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the person asked for."""

    to: str
    env: str
    rate: float
    first: int
    rows: int | None
    loop: bool
    dialect: str
    injections: tuple[str, ...]
    seed: int
    actuals: str | None
    features: str | None
    target: str | None
    resume: bool
    again: bool


def read_rate(text: str) -> float:
    """Rows a second; 0 for max."""
    found = RATE.fullmatch(text)
    if text == "max":
        return 0.0
    if found is None or not float(found[1]):
        raise BadInput(f"--rate {text}: write 10/s, 600/m, 100/h or max")
    return float(found[1]) / PERIODS[found[2]]


def address(to: str, env: str, settings: Settings) -> str:
    """The URL of a scorer or of a deployment's gateway, without a slash at its end."""
    if to.startswith(("http://", "https://")):
        return to.rstrip("/")
    from mlflow_hydraulic.cli.world import open_configuration
    from mlflow_hydraulic.deploy_targets.environment import LOCAL

    found = {environment.name: environment for environment in open_configuration().environments}
    if env not in found:
        raise NotFound(f"--env {env}: there is no such environment; there are {', '.join(found)}")
    environment = found[env]
    if environment.target == LOCAL:
        from mlflow_hydraulic.deploy_targets.local.target import LocalTarget

        seen = LocalTarget(settings).get(environment.namespace, to)
    else:
        from mlflow_hydraulic.deploy_targets.kubernetes.client import open_cluster
        from mlflow_hydraulic.deploy_targets.kubernetes.target import KubernetesTarget
        from mlflow_hydraulic.deploy_targets.kubernetes.target_uri import parse_target

        seen = KubernetesTarget(open_cluster(parse_target(environment.target).context)).get(environment.namespace, to)
    if not seen.url:
        raise NotFound(f"{environment.namespace}/{to}: {seen.state}, so it has no address; --to URL takes any other")
    return seen.url.rstrip("/")


def rows_of(source: Path, wish: Wish, model: Model, settings: Settings) -> Rows:
    from mlflow_hydraulic.replay.injections import injected, read_injection
    from mlflow_hydraulic.replay.rows import kind_of_features, load_rows

    faults = [read_injection(text) for text in wish.injections]
    kind = wish.features or kind_of_features(model.names)
    target = wish.target or model.target
    names = () if wish.features else model.names
    rows = load_rows(source, names=names, kind=kind, target=target, cache=settings.home / "cache")
    if wish.actuals is not None and rows.truth is None:
        raise BadInput(
            f"--actuals: {source} has no true values of {target or 'the model'}: name their column, --target"
        )
    return injected(rows, faults, wish.seed)


def span_of(rows: Rows, wish: Wish) -> Span:
    from mlflow_hydraulic.replay.run import Span

    if wish.first >= len(rows):
        raise BadInput(f"--from {wish.first}: there are the rows 0 to {len(rows) - 1}")
    last = len(rows) if wish.rows is None else min(wish.first + wish.rows, len(rows))
    return Span(first=wish.first, last=last, loop=wish.loop)


def knowing(settings: Settings, progress: Progress) -> Known:
    """Whether an id is in the record of this machine: None where earlier rows of this replay are not there either."""

    def known(prediction_id: str) -> bool | None:
        from mlflow_hydraulic.record.opening import open_record

        before = progress.seen.next - 1
        try:
            with open_record(settings) as store:
                if store.find(prediction_id):
                    return True
                recorded_here = before >= 0 and bool(store.find(progress.id_of(before)))
        except NotFound:
            return None
        return False if recorded_here else None

    return known


@contextmanager
def bringing(wish: Wish, rows: Rows, asker: Asker, progress: Progress, settings: Settings) -> Iterator[Truths | None]:
    """What brings true values, where that is wanted."""
    if wish.actuals is None or rows.truth is None:
        yield None
        return
    from mlflow_hydraulic.accuracy.store import FILE, ActualStore
    from mlflow_hydraulic.accuracy.values import Actual
    from mlflow_hydraulic.record.recorder import record_folder
    from mlflow_hydraulic.replay.truths import Truths, read_bringing

    how = read_bringing(wish.actuals)
    log.warning("SIMULATED true values by %s: %s; what is due later is brought at the end", how.via, how)

    def feed_back(position: int, value: Any, _at: float) -> None:  # Any: a label
        status = asker.feed_back(progress.id_of(position), value)
        if status != 200:
            raise Failed(f"feedback of row {position} is refused with {status}: use --actuals via=store")
        progress.brought(position)

    if how.via == "feedback":
        yield Truths(how, rows.truth, wish.seed, feed_back)
        return
    with ActualStore(record_folder(settings) / FILE) as store:

        def keep(position: int, value: Any, at: float) -> None:  # Any: a label
            name = progress.id_of(position)
            store.take([Actual(id=name, value=value, at=at, source="replay (simulated)")], at)
            progress.brought(position)

        yield Truths(how, rows.truth, wish.seed, keep)
