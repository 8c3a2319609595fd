"""The one place that holds the version; setup.cfg, `hydraulic --version` and every scorer read it."""

VERSION = "0.1.0"
