"""The paths that Seldon's microservice and its orchestrator answer on; the dialect and its description share them."""

PREDICT_PATHS = ("/api/v1.0/predictions", "/predict")
FEEDBACK_PATHS = ("/api/v1.0/feedback", "/send-feedback")
STATUS_PATHS = ("/health/status", "/api/v1.0/health/status")
METADATA_PATHS = ("/metadata", "/api/v1.0/metadata")
PLAIN_PATHS = {"/health/ping": b"pong", "/live": b"live", "/ready": b"ready"}

# gRPC's methods are paths too; the gRPC server asks the application under them, so that they are counted as such.
GRPC_PATHS = {
    **{f"/seldon.protos.{service}/Predict": "/predict" for service in ("Seldon", "Model")},
    **{f"/seldon.protos.{service}/SendFeedback": "/send-feedback" for service in ("Seldon", "Model")},
    "/seldon.protos.Seldon/ModelMetadata": "/metadata",
    "/seldon.protos.Model/Metadata": "/metadata",
}
