"""The paths that Seldon's microservice and its orchestrator answer on; the dialect and its description share them."""

PREDICT_PATHS = ("/api/v1.0/predictions", "/predict")
FEEDBACK_PATHS = ("/api/v1.0/feedback", "/send-feedback")
STATUS_PATHS = ("/health/status", "/api/v1.0/health/status")
METADATA_PATHS = ("/metadata", "/api/v1.0/metadata")
PLAIN_PATHS = {"/health/ping": b"pong", "/live": b"live", "/ready": b"ready"}
