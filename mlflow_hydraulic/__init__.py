"""Run models from an MLflow registry; the hydraulic test rig is the example that carries it.

Importing this package imports none of its dependencies: the scorer, the command line and MLflow's
plugin loader all start from here and each takes only what it needs.
"""

from mlflow_hydraulic.version import VERSION as __version__  # noqa: N811 - the name that Python tools look for

__all__ = ["__version__"]
