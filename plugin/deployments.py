"""The MLflow deployments contract on top of any target of this package; each target's module subclasses it.

Import it as a module: MLflow wants exactly one client class in the namespace of the module that an entry point names.
Nothing heavy is imported here at once: MLflow's command line loads every target's module, also beside mlflow-skinny.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from mlflow.deployments import BaseDeploymentClient, PredictionsResponse
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS

from mlflow_hydraulic.deployment import Deployment, Exists, Observed, check_name
from mlflow_hydraulic.errors import BadInput, HydraulicError, NotFound
from mlflow_hydraulic.plugin.config import Config, Own, deployment_of, read_config
from mlflow_hydraulic.plugin.errors import PluginError, to_mlflow, translated
from mlflow_hydraulic.plugin.models import fetch
from mlflow_hydraulic.plugin.shown import described, endpoint_of
from mlflow_hydraulic.settings import Settings, read_settings

if TYPE_CHECKING:
    import pandas as pd

Json = dict[str, Any]  # Any: the value is JSON
FLAVORS = ("python_function", "hydraulic")


class DeploymentClient(BaseDeploymentClient):  # type: ignore[misc]  # MLflow is untyped here
    """create, update, delete, list, get, predict, explain and the endpoint verbs.

    An endpoint is the address of a deployment and has its name: `create_endpoint` checks that the name is free,
    deployments created under it must have its name, and `delete_endpoint` deletes what answers there.

    A target gives `own` (its `-C` keys) and the methods of the first group.
    """

    target_name: ClassVar[str]
    own: ClassVar[Own]

    def __init__(self, target_uri: str) -> None:
        super().__init__(target_uri)
        with translated():
            self.settings: Settings = read_settings()
            self.namespace = self._open(target_uri)

    # what a target gives
    def _open(self, target_uri: str) -> str:
        """Opens what `target_uri` names; the namespace that it means."""
        raise NotImplementedError

    def _check(self, config: Config, before: Observed | None) -> None:
        """Raises `BadInput` for what is wrong with the target's own keys, before anything is fetched.

        before: what the keys would change.
        """
        raise NotImplementedError

    def _apply(self, deployment: Deployment, config: Config, *, create: bool, expected: int | None) -> Observed:
        raise NotImplementedError

    def _observe(self, namespace: str) -> list[Observed]:
        raise NotImplementedError

    def _get(self, namespace: str, name: str) -> Observed:
        raise NotImplementedError

    def _delete(self, namespace: str, name: str, config: Config) -> None:
        raise NotImplementedError

    def _predict(self, observed: Observed, inputs: object) -> Json:
        """{"predictions": ...} of what serves; `NotFound` where nothing answers."""
        raise NotImplementedError

    def _explain(self, observed: Observed, frame: pd.DataFrame) -> Json:
        raise NotImplementedError

    # deployments
    def create_deployment(
        self,
        name: str,
        model_uri: str,
        flavor: str | None = None,
        config: Mapping[str, object] | None = None,
        endpoint: str | None = None,
    ) -> Json:
        """Serves `model_uri` under `name`, and returns when it answers; `target_help` lists the -C keys.

        An existing name is RESOURCE_ALREADY_EXISTS; what cannot be served leaves nothing behind.
        """
        with self._translated():
            _check_names(name, endpoint)
            given = self._read(config)
            _check_flavor(flavor)
            self._check(given, None)
            namespace = self._namespace(given)
            check_name("deployment", name)
            found = self._get(namespace, name)
            if found.state not in ("not found", "terminating"):
                raise Exists(
                    f"deployment {name!r} exists already in namespace {namespace!r}: change it with "
                    '"mlflow deployments update", or choose another name'
                )
            deployment = deployment_of(
                name, namespace, model_uri=model_uri, config=given, before=None, fetch=self._fetch
            )
            return described(self._apply(deployment, given, create=True, expected=None))

    def update_deployment(
        self,
        name: str,
        model_uri: str | None = None,
        flavor: str | None = None,
        config: Mapping[str, object] | None = None,
        endpoint: str | None = None,
    ) -> Json:
        """Changes model, shares, replicas, shadow or address of what serves; no request fails meanwhile.

        What is not named stays. When the change fails, what served before goes on serving.
        """
        with self._translated():
            _check_names(name, endpoint)
            given = self._read(config)
            _check_flavor(flavor)
            before = self._there(self._namespace(given), name)
            self._check(given, before)
            deployment = deployment_of(
                name,
                before.namespace,
                model_uri=model_uri,
                config=given,
                before=before.deployment,
                fetch=self._fetch,
            )
            return described(self._apply(deployment, given, create=False, expected=before.generation))

    def delete_deployment(
        self, name: str, config: Mapping[str, object] | None = None, endpoint: str | None = None
    ) -> None:
        """Ends `name` after it answered what it had accepted. Nothing to do, and no error, where there is none."""
        with self._translated():
            _check_names(name, endpoint)
            given = self._read(config)
            self._delete(self._namespace(given), name, given)

    def list_deployments(self, endpoint: str | None = None) -> list[Json]:
        """Every deployment in the namespace of the target URI, or the one of `endpoint`."""
        with self._translated():
            return [described(o) for o in self._observe(self.namespace) if endpoint in (None, o.name)]

    def get_deployment(self, name: str, endpoint: str | None = None) -> Json:
        """How `name` is; RESOURCE_DOES_NOT_EXIST where there is none."""
        with self._translated():
            _check_names(name, endpoint)
            return described(self._there(self.namespace, name))

    def predict(
        self, deployment_name: str | None = None, inputs: object = None, endpoint: str | None = None
    ) -> PredictionsResponse:
        """The predictions for a DataFrame, an array, a dict of columns, a list of records, or a ready MLflow body."""
        with self._translated():
            return PredictionsResponse(self._predict(self._asked(deployment_name, endpoint), inputs))

    def explain(
        self, deployment_name: str | None = None, df: pd.DataFrame | None = None, endpoint: str | None = None
    ) -> Json:
        """Shapley values of each row: for each output, a value for each input column and the bias.

        They add up to the output: {"outputs": [...], "features": [..., "bias"], "contributions": {output: rows}}.
        """
        with self._translated():
            if df is None:
                raise BadInput("explain: there are no rows: give a DataFrame")
            return self._explain(self._asked(deployment_name, endpoint), df)

    # endpoints
    def create_endpoint(self, name: str, config: Mapping[str, object] | None = None) -> Json:
        """Checks that `name` is free for an endpoint; the deployment created under it makes the address."""
        with self._translated():
            check_name("endpoint", name)
            namespace = self._namespace(self._read(config))
            if self._get(namespace, name).state != "not found":
                raise Exists(f"endpoint {name!r} exists already: it is the address of the deployment {name!r}")
            return {"name": name, "namespace": namespace, "state": "not found", "url": ""}

    def update_endpoint(self, endpoint: str, config: Mapping[str, object] | None = None) -> Json:
        """Changes the shares of the deployment that answers there, or the address (seldon-local: -C host, port)."""
        return self.update_deployment(endpoint, config=config)

    def delete_endpoint(self, endpoint: str) -> None:
        """Deletes the deployment that answers there; nothing to do where there is none."""
        self.delete_deployment(endpoint)

    def list_endpoints(self) -> list[Json]:
        """The addresses of all deployments in the namespace."""
        with self._translated():
            return [endpoint_of(o) for o in self._observe(self.namespace)]

    def get_endpoint(self, endpoint: str) -> Json:
        """The address of the deployment `endpoint`, and how it is."""
        with self._translated():
            return endpoint_of(self._there(self.namespace, endpoint))

    # shared
    def _read(self, config: Mapping[str, object] | None) -> Config:
        return read_config(config, self.own)

    def _fetch(self, uri: str) -> Any:  # Any: see `Fetch`; a method cannot be annotated shorter
        return fetch(uri, self.settings.home)

    def _namespace(self, config: Config) -> str:
        return config.namespace or self.namespace

    def _there(self, namespace: str, name: str) -> Observed:
        check_name("deployment", name)
        observed = self._get(namespace, name)
        if observed.state == "not found":
            raise NotFound(
                f"there is no deployment {name!r} in namespace {namespace!r}: see "
                f'"mlflow deployments list -t {self.target_name}:/{namespace}"'
            )
        return observed

    def _asked(self, name: str | None, endpoint: str | None) -> Observed:
        if (name is None) == (endpoint is None) and name != endpoint:
            raise BadInput(f"deployment {name!r} and endpoint {endpoint!r} were both named: name one")
        wanted = name or endpoint
        if wanted is None:
            raise BadInput("name a deployment or an endpoint")
        return self._there(self.namespace, wanted)

    def _translated(self) -> Any:  # Any: a context manager
        return _translated()


class _translated:  # noqa: N801 - used as a function, like `translated`
    """`translated`, with MLflow's own code for a name that is taken."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exists):
            raise PluginError(str(error), error_code=RESOURCE_ALREADY_EXISTS) from error
        if isinstance(error, HydraulicError):
            raise to_mlflow(error) from error


def _check_names(name: str, endpoint: str | None) -> None:
    check_name("deployment", name)
    if endpoint not in (None, name):
        raise BadInput(f"endpoint={endpoint!r}: a deployment is its own endpoint: name it {name!r} or leave it out")


def _check_flavor(flavor: str | None) -> None:
    if flavor is not None and flavor not in FLAVORS:
        raise BadInput(f"flavor={flavor!r}: models are served as python_function; leave it out (or {FLAVORS})")
