"""The target `seldon` of `mlflow deployments`: SeldonDeployments, or what stands for them, on a Kubernetes cluster.

MLflow loads this module by its entry point and wants exactly one client class in it, `run_local` and `target_help`.
The Kubernetes client is an extra: it is imported when a cluster is opened, and not before.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlflow_hydraulic.deploy_targets.kubernetes import delivery, gateway, option_codec
from mlflow_hydraulic.deploy_targets.kubernetes.option_codec import DEFAULTS, options_from_config
from mlflow_hydraulic.deploy_targets.kubernetes.options import KubernetesOptions
from mlflow_hydraulic.deploy_targets.kubernetes.target_uri import parse_target
from mlflow_hydraulic.deployment import Deployment, ModelVersion, Observed
from mlflow_hydraulic.plugin import deployments, scoring_client
from mlflow_hydraulic.plugin.config import Config, Own, flag
from mlflow_hydraulic.plugin.shown import key_help, no_answer

if TYPE_CHECKING:
    import pandas as pd

TARGET = "seldon"
FORCE = "force"
KEYS = {FORCE: "true takes over fields that somebody else has set on the object (false)", **option_codec.option_help()}
OWN = Own(keys=KEYS, takes=lambda key: key == FORCE or option_codec.takes(key))
HELP = """\
seldon: deployments on Kubernetes, as SeldonDeployments; or as InferenceService or plain Deployment, by -C shape.

Target URI
  seldon                       the kubeconfig's current context and its namespace, or the cluster around this pod
  seldon:/prod                 namespace "prod" there
  seldon://my-cluster/prod     another context; a slash in its name is written %2F
  It needs the Kubernetes client: pip install "mlflow-hydraulic[kubernetes]".

What a deployment is
  One SeldonDeployment with one or more predictors that share the requests, at most one shadow that gets copies. Each
  predictor is one model version, pinned by digest, in one or more pods. The main predictor is called "default" and
  serves the model of -m; arms and shadow are named by -C. A deployment is its own endpoint.

Config, -C KEY=VALUE
{keys}
  What an update does not name stays as it is. KEY=none empties a table or takes an arm or the shadow away.

Where it is asked
  By predict: through gateway_url, or through the API server's service proxy, which needs the right to create
  services/proxy; then the share of each predictor is kept by choosing one, and no shadow gets copies. explain asks the
  model itself, by the proxy, since Seldon's orchestrator knows no such path.
  By callers: at the "endpoint" that get shows. Without gateway_url that is a Service inside the cluster.

Examples
  mlflow deployments create -t seldon:/dev --name cooler -m models:/cooler/1 \\
      -C tracking_uri=http://mlflow.mlflow.svc:5000 -C image=registry.example/mlflow-hydraulic:0.1.0
  mlflow deployments update -t seldon:/dev --name cooler -m models:/cooler/2 -C memory_limit=2Gi      in place
  mlflow deployments update -t seldon:/dev --name cooler -C arm.b=models:/cooler/3:20      80 % and 20 %
  mlflow deployments update -t seldon:/dev --name cooler -C shadow=models:/cooler/4 -C wait=false
  mlflow deployments update -t seldon:/dev --name cooler -C autoscale_max=5 -C env.LOG_LEVEL=INFO
  mlflow deployments get -t seldon:/dev --name cooler
  mlflow deployments predict -t seldon:/dev --name cooler -I rows.json
  mlflow deployments explain -t seldon:/dev --name cooler -I rows.json
  mlflow deployments delete -t seldon:/dev --name cooler
  mlflow deployments run-local -t seldon --name try -m models:/cooler/2      the same, on this machine, until Ctrl-C
"""


class SeldonClient(deployments.DeploymentClient):
    """`mlflow deployments -t seldon`; see `target_help`."""

    target_name = TARGET
    own = OWN

    def _open(self, target_uri: str) -> str:
        from mlflow_hydraulic.deploy_targets.kubernetes.client import open_cluster
        from mlflow_hydraulic.deploy_targets.kubernetes.target import KubernetesTarget

        place = parse_target(target_uri)
        cluster = open_cluster(place.context)
        self._target = KubernetesTarget(cluster, shape="")  # a list names none, and a role may be for one alone
        return place.namespace or cluster.namespace

    def _check(self, config: Config, before: Observed | None) -> None:
        base = DEFAULTS if before is None else self._target.options(before.namespace, before.name)
        _options(base, config)
        _force(config)

    def _apply(self, deployment: Deployment, config: Config, *, create: bool, expected: int | None) -> Observed:
        base = DEFAULTS if create else self._target.options(deployment.namespace, deployment.name)
        options = delivery.reachable(deployment, _options(base, config), _tracking_uri())
        return self._target.apply(
            deployment,
            options=options,
            mode="create" if create else "update",
            expected=expected,
            wait=config.wait,
            timeout_s=config.timeout_s,
            force=_force(config),
            storage=delivery.storage_of(deployment, options, _storage),
        )

    def _observe(self, namespace: str) -> list[Observed]:
        return self._target.observe(namespace)

    def _get(self, namespace: str, name: str) -> Observed:
        return self._target.get(namespace, name)

    def _delete(self, namespace: str, name: str, config: Config) -> None:
        self._target.delete(namespace, name, timeout_s=config.timeout_s)

    def _predict(self, observed: Observed, inputs: object) -> deployments.Json:
        serving, options = self._serving(observed)
        one = random.choices(serving.predictors, [each.traffic for each in serving.predictors])[0]  # noqa: S311  # shares
        address = gateway.predict_address(serving, one, options, told=observed.url)
        post = self._way(address)
        return scoring_client.predict(post, inputs, path=address.path, dialect=address.dialect)

    def _explain(self, observed: Observed, frame: pd.DataFrame) -> deployments.Json:
        serving, options = self._serving(observed)
        address = gateway.explain_address(serving, serving.predictors[0], options, told=observed.url)
        return scoring_client.explain(self._way(address), frame)

    def _serving(self, observed: Observed) -> tuple[Deployment, KubernetesOptions]:
        if observed.serving is None:
            raise no_answer(observed)
        return observed.serving, self._target.options(observed.namespace, observed.name)

    def _way(self, address: gateway.Address) -> scoring_client.Post:
        if address.url:
            return scoring_client.over_http(address.url.removesuffix(address.path), host=address.host)
        return self._through_the_api_server(address)

    def _through_the_api_server(self, address: gateway.Address) -> scoring_client.Post:
        place = (address.namespace, address.service, address.port)

        def post(path: str, body: deployments.Json) -> deployments.Json:
            answer = self._target.cluster.proxy("POST", place, path, body=body, timeout_s=scoring_client.TIMEOUT_S)
            where = f"service {address.namespace}/{address.service}:{address.port}{path}"
            return scoring_client.answered(where, answer.status, answer.body.decode("utf-8", "replace"))

        return post


def _options(base: KubernetesOptions, config: Config) -> KubernetesOptions:
    given = {key: value for key, value in config.own.items() if key != FORCE}
    return options_from_config(given, base)


def _force(config: Config) -> bool:
    return flag(FORCE, config.own.get(FORCE, "false"))


def _tracking_uri() -> str:
    import mlflow

    return str(mlflow.get_tracking_uri())


def _storage(model: ModelVersion) -> str:
    from mlflow_hydraulic.plugin.client import open_client
    from mlflow_hydraulic.plugin.storage import Storage

    return Storage(open_client()).of(model)


def target_help() -> str:
    """What `mlflow deployments help -t seldon` prints."""
    return HELP.format(keys=key_help(OWN))


def run_local(name: str, model_uri: str, flavor: str | None = None, config: Mapping[str, object] | None = None) -> None:
    """Serves `model_uri` on this machine, as `seldon-local` does; what only a cluster knows is left out, and told."""
    import click

    from mlflow_hydraulic.plugin import seldon_local

    given = dict(config or {})
    left = [key for key in given if OWN.takes(key) and not seldon_local.OWN.takes(key)]
    if left:
        click.echo(f"left out, since they mean nothing on this machine: {', '.join(left)}", err=True)
    seldon_local.run_local(name, model_uri, flavor, {key: value for key, value in given.items() if key not in left})
