"""Kubernetes as a target: manifests as pure functions, and the one module that talks to a cluster."""
