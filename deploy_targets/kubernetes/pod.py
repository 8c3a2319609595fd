"""What a pod is told and where it listens: the contract between the manifests and the image of the scorer.

The manifests write these names, `hydraulic serve-pod` (the image's start) reads them.
"""

from __future__ import annotations

from mlflow_hydraulic.version import VERSION

IMAGE = f"mlflow-hydraulic:{VERSION}"  # what the Containerfile in the root is built as
ARGS = ("serve-pod",)  # the image's entrypoint is `hydraulic`

# The graph node and its container. Seldon's orchestrator calls V2 as /v2/models/<node>/infer whatever the model is
# called, so a scorer answers to this name too.
NODE = "model"
HTTP_PORT = 9000  # what Seldon's operator gives the first container; written out so that every shape has it
GRPC_PORT = 9500
READY_PATH = "/ready"  # 503 while the model is fetched, checked and warmed up, and while the scorer drains
LIVE_PATH = "/live"

# Variables of the container.
MODEL_URI = "HYDRAULIC_MODEL_URI"  # where the pod fetches the model: models:/NAME/VERSION, s3://..., /mnt/models
MODEL_DIGEST = "HYDRAULIC_MODEL_DIGEST"  # sha256 of its files: any other model is refused
MODEL_NAME = "HYDRAULIC_MODEL_NAME"  # what answers show
MODEL_VERSION = "HYDRAULIC_MODEL_VERSION"
ENGINE = "HYDRAULIC_ENGINE"  # auto, onnx or pyfunc; absent is auto
PREDICTOR = "HYDRAULIC_PREDICTOR"  # answers show it as X-Hydraulic-Predictor
HTTP_PORT_VARIABLE = "HYDRAULIC_HTTP_PORT"
GRPC_PORT_VARIABLE = "HYDRAULIC_GRPC_PORT"
HOST = "HYDRAULIC_HOST"
DRAIN = "HYDRAULIC_DRAIN_TIMEOUT_S"  # less than the pod's grace, so that what was accepted is answered
HOME = "HYDRAULIC_HOME"  # a writable folder for the fetched model; the rest of the file system is read-only
SERVED = "HYDRAULIC_SERVED"  # whose scorer it is, for the prediction record; where that is sent on
NAMESPACE, DEPLOYMENT, POD = "HYDRAULIC_NAMESPACE", "HYDRAULIC_DEPLOYMENT", "HYDRAULIC_POD"  # what SERVED is made of
TRACKING_URI = "MLFLOW_TRACKING_URI"
REGISTRY_URI = "MLFLOW_REGISTRY_URI"

HOME_FOLDER = "/var/lib/hydraulic"
SCRATCH_FOLDER = "/tmp"  # noqa: S108  # a mount of the pod's own, not this machine's
INITIALIZED_FOLDER = "/mnt/models"  # where the init container of Seldon's operator puts a model

RESERVED = frozenset(
    (
        *(MODEL_URI, MODEL_DIGEST, MODEL_NAME, MODEL_VERSION, ENGINE, PREDICTOR),
        *(HTTP_PORT_VARIABLE, GRPC_PORT_VARIABLE, HOST, HOME, DRAIN, TRACKING_URI, REGISTRY_URI),
        *(SERVED, NAMESPACE, DEPLOYMENT, POD),
    )
)
