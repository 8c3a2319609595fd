"""Rules and a configuration for Prometheus, as files: what `hydraulic monitor prometheus` writes. No code."""
