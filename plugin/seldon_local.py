"""The target `seldon-local` of `mlflow deployments`: what `seldon` does on Kubernetes, as processes on this machine.

MLflow loads this module by its entry point and wants exactly one client class in it, `run_local` and `target_help`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlparse

from mlflow_hydraulic.deploy_targets.local.folder import Options
from mlflow_hydraulic.deploy_targets.local.target import LocalTarget
from mlflow_hydraulic.deployment import Deployment, Observed, check_name
from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.plugin import deployments, scoring_client
from mlflow_hydraulic.plugin.config import Config, Own, whole
from mlflow_hydraulic.plugin.errors import translated
from mlflow_hydraulic.plugin.shown import key_help, no_answer

if TYPE_CHECKING:
    import pandas as pd

TARGET = "seldon-local"
NAMESPACE = "default"
KEYS = {
    "host": "address to listen on (HYDRAULIC_HOST)",
    "port": "TCP port; 0 takes a free one and keeps it (0)",
    "engine": "auto, onnx or pyfunc (auto: onnx where the model has a bundle with a graph)",
}
OWN = Own(keys=KEYS, takes=KEYS.__contains__)
HELP = """\
seldon-local: deployments as supervised processes on this machine, each behind one port.

Target URI
  seldon-local              namespace "default"
  seldon-local:/dev         namespace "dev"; seldon-local://dev is the same

What a deployment is
  One port, one or more predictors that share the requests, at most one shadow that gets copies. Each predictor is one
  model version in one or more scorer processes, kept alive by a supervisor of the deployment's own. The main predictor
  is called "default" and serves the model of -m; arms and shadow are named by -C. A deployment is its own endpoint.

Config, -C KEY=VALUE
{keys}
  How long starting and stopping may take is said by HYDRAULIC_START_TIMEOUT_S and HYDRAULIC_DRAIN_TIMEOUT_S.

A model URI is anything MLflow knows: models:/NAME/VERSION, models:/NAME@ALIAS, models:/NAME/Production,
runs:/RUN/PATH, a folder. An alias or stage is resolved once, at the call. In MODEL_URI:SHARE the share is what follows
the last colon, if that is a number. The model needs a signature.

Examples
  mlflow deployments create -t seldon-local --name cooler -m models:/cooler/1 -C port=8080 -C replicas=2
  mlflow deployments update -t seldon-local --name cooler -m models:/cooler/2      in place; no request fails
  mlflow deployments update -t seldon-local --name cooler -C arm.b=models:/cooler/3:20      80 % and 20 %
  mlflow deployments update -t seldon-local --name cooler -C arm.b.traffic=50 -C arm.b.replicas=2
  mlflow deployments update -t seldon-local --name cooler -m models:/cooler/3 -C arm.b=none      b has won
  mlflow deployments update -t seldon-local --name cooler -C shadow=models:/cooler/4      copies of all requests
  mlflow deployments update -t seldon-local --name cooler -C shadow=none
  mlflow deployments get -t seldon-local --name cooler
  mlflow deployments predict -t seldon-local --name cooler -I rows.json
  mlflow deployments explain -t seldon-local --name cooler -I rows.json
  mlflow deployments delete -t seldon-local --name cooler
  mlflow deployments run-local -t seldon-local --name try -m models:/cooler/2 -C port=9000      until Ctrl-C
  hydraulic local list | start | stop | logs      also after the machine restarted

Asking it, at the "endpoint" that get shows (http://HOST:PORT/seldon/NAMESPACE/NAME, or http://HOST:PORT)
  POST /invocations    POST /api/v1.0/predictions    POST /v2/models/MODEL/infer    POST /model/score    GET /metrics
  X-Hydraulic-Predictor and X-Hydraulic-Version say who answered, Seldon-Puid which request it was.
"""


class SeldonLocalClient(deployments.DeploymentClient):
    """`mlflow deployments -t seldon-local`; see `target_help`."""

    target_name = TARGET
    own = OWN

    def _open(self, target_uri: str) -> str:
        self._target = LocalTarget(self.settings)
        return namespace_of(target_uri)

    def _check(self, config: Config, before: Observed | None) -> None:  # noqa: ARG002 - what is there says nothing about them
        _options(Options(), config)

    def _apply(self, deployment: Deployment, config: Config, *, create: bool, expected: int | None) -> Observed:
        options = self._target.options(deployment.namespace, deployment.name)
        return self._target.apply(
            deployment,
            options=_options(options, config),
            mode="create" if create else "update",
            expected=expected,
            wait=config.wait,
            timeout_s=config.timeout_s,
        )

    def _observe(self, namespace: str) -> list[Observed]:
        return self._target.observe(namespace)

    def _get(self, namespace: str, name: str) -> Observed:
        return self._target.get(namespace, name)

    def _delete(self, namespace: str, name: str, config: Config) -> None:
        self._target.delete(namespace, name, timeout_s=config.timeout_s)

    def _predict(self, observed: Observed, inputs: object) -> deployments.Json:
        return scoring_client.predict(scoring_client.over_http(_url(observed)), inputs)

    def _explain(self, observed: Observed, frame: pd.DataFrame) -> deployments.Json:
        return scoring_client.explain(scoring_client.over_http(_url(observed)), frame)


def _url(observed: Observed) -> str:
    if not observed.url or observed.pid is None:
        raise no_answer(observed)
    return observed.url


def _options(options: Options, config: Config) -> Options:
    given: dict[str, object] = dict(config.own)
    if "port" in config.own:
        given["port"] = whole("port", config.own["port"], 0, 65535)
    return replace(options, **given)  # type: ignore[arg-type]  # the keys are its fields


def namespace_of(target_uri: str) -> str:
    """The namespace in `seldon-local`, `seldon-local:/dev` or `seldon-local://dev`.

    >>> namespace_of("seldon-local"), namespace_of("seldon-local:/dev"), namespace_of("seldon-local://prod/")
    ('default', 'dev', 'prod')
    """
    parsed = urlparse(target_uri)
    if parsed.query or parsed.fragment:
        raise BadInput(f"target {target_uri!r}: write TARGET, TARGET:/NAMESPACE or TARGET://NAMESPACE")
    rest = (parsed.netloc + parsed.path).strip("/") if parsed.scheme else ""
    check_name("namespace", rest or NAMESPACE)
    return rest or NAMESPACE


def target_help() -> str:
    """What `mlflow deployments help -t seldon-local` prints."""
    return HELP.format(keys=key_help(OWN))


def run_local(name: str, model_uri: str, flavor: str | None = None, config: Mapping[str, object] | None = None) -> None:
    """Serves `model_uri` until Ctrl-C or SIGTERM, then deletes it. No docker, and nothing stays.

    It is a deployment like any other, in the namespace `run-local` unless -C namespace says another.
    """
    import signal
    import threading

    import click

    ended = threading.Event()
    client = SeldonLocalClient(TARGET)
    namespace = str((config or {}).get("namespace", (config or {}).get("environment", "run-local")))
    given = {**{k: v for k, v in (config or {}).items() if k != "environment"}, "namespace": namespace, "wait": "true"}
    before = signal.signal(signal.SIGTERM, lambda *_: ended.set())
    try:
        made = client.create_deployment(name, model_uri, flavor, given)
        try:
            click.echo(f"{name} serves {made['model_uri']} at {made['endpoint']} until Ctrl-C")
            while not ended.wait(1.0):
                with translated():
                    _check_alive(client._get(namespace, name))
        except KeyboardInterrupt:
            pass
        finally:
            client.delete_deployment(name, {"namespace": namespace})
    finally:
        signal.signal(signal.SIGTERM, before)


def _check_alive(observed: Observed) -> None:
    from mlflow_hydraulic.errors import Failed

    if observed.pid is None:
        raise Failed(f"{observed.name!r} ended: {observed.cause or observed.state}")
