"""Opens a cluster: the one module that imports the Kubernetes library, and only when a cluster is opened.

Whoever deploys elsewhere need not have it. Called by the target's constructor and by whoever asks the cluster itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflow_hydraulic.deploy_targets.kubernetes.backoff import Patience
from mlflow_hydraulic.deploy_targets.kubernetes.cluster import Cluster
from mlflow_hydraulic.errors import BadInput

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
SHAPELESS = (ValueError, TypeError, KeyError, AttributeError)  # a file whose parts are none of what they should be


def open_cluster(
    context: str = "",
    *,
    kubeconfig: str = "",
    patience: Patience | None = None,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Cluster:
    """The cluster of a kubeconfig's context; without any kubeconfig the one that this process runs in.

    kubeconfig: else KUBECONFIG (several, as kubectl takes them), else ~/.kube/config. context: else its current one.
    Raises `BadInput` where there is neither, or where the context is not in it.
    """
    try:
        import kubernetes
        import yaml  # which the library reads its file with, and whose errors it lets through
    except ImportError as error:
        raise BadInput('the Kubernetes client is not installed: pip install "mlflow-hydraulic[kubernetes]"') from error
    configuration = kubernetes.client.Configuration()
    # urllib3 repeats GET, PUT and DELETE silently, and sleeps for Retry-After: both are ours to do, and to tell.
    configuration.retries = False
    files = kubeconfig or os.environ.get("KUBECONFIG", "") or str(Path.home() / ".kube" / "config")
    there = any(Path(one).expanduser().is_file() for one in files.split(os.pathsep) if one)
    try:
        if there:
            name, namespace = _from_file(kubernetes.config, configuration, files, context)
        elif context or kubeconfig:
            raise BadInput(f"kubeconfig {files}: there is no such file, so no context {context or 'of it'} either")
        else:
            kubernetes.config.load_incluster_config(client_configuration=configuration)
            name, namespace = "this cluster", _own_namespace()
    except (kubernetes.config.ConfigException, yaml.YAMLError, OSError, *SHAPELESS) as error:
        if there:
            raise BadInput(f"kubeconfig {files}: {' '.join(str(error).split())}; write it anew") from error
        raise BadInput(
            f"no cluster is configured: there is no {files}, and this process runs in no pod with a service account; "
            "set KUBECONFIG to a kubeconfig file"
        ) from error
    api = kubernetes.client.ApiClient(configuration)
    # Discovery, which this client would begin with, is not needed: the paths of our kinds are known.
    dynamic = kubernetes.dynamic.DynamicClient(api, discoverer=lambda *_: None)
    return Cluster(
        name=name,
        server=str(configuration.host),
        namespace=namespace,
        call=dynamic.request,
        refused=kubernetes.client.exceptions.ApiException,
        close=api.close,
        patience=patience or Patience(),
        now=now,
        sleep=sleep,
    )


def _from_file(config: Any, configuration: Any, files: str, context: str) -> tuple[str, str]:  # Any: untyped library
    contexts, current = config.list_kube_config_contexts(config_file=files)
    names = [one["name"] for one in contexts]
    if context and context not in names:
        raise BadInput(f"context {context!r} is not in kubeconfig {files}: it has {', '.join(names) or 'none'}")
    chosen = next(one for one in contexts if one["name"] == context) if context else current
    config.load_kube_config(config_file=files, context=context or None, client_configuration=configuration)
    return chosen["name"], (chosen.get("context") or {}).get("namespace") or "default"


def _own_namespace() -> str:
    return NAMESPACE_FILE.read_text(encoding="utf-8").strip() or "default"
