"""The flavor's `autolog`: from then on `rig.train.train` logs what it does; notebooks and scripts call it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mlflow.utils.autologging_utils import autologging_integration, get_autologging_config, safe_patch

if TYPE_CHECKING:
    from mlflow_hydraulic.rig.cycles import Cycles
    from mlflow_hydraulic.rig.train import TrainingResult

INTEGRATION = "hydraulic"


@autologging_integration(INTEGRATION)  # type: ignore[untyped-decorator]  # MLflow's decorators are untyped
def autolog(  # noqa: PLR0917 - MLflow's autologs take these by position too
    log_models: bool = True,  # noqa: ARG001 - MLflow keeps the arguments and `_train_and_log` asks for them
    registered_model_name: str | None = None,  # noqa: ARG001
    exclusive: bool = False,  # noqa: ARG001
    disable: bool = False,  # noqa: ARG001
    silent: bool = False,  # noqa: ARG001
    extra_tags: dict[str, str] | None = None,
) -> None:
    """Makes each `mlflow_hydraulic.rig.train.train(...)` log parameters, metrics, figures and model.

    It logs to the active run, or to one that it makes and ends. A name bound before (`from ... import train`) stays
    without logging: call it as `train.train(...)` of the module. When logging fails, training goes on and a warning
    says so, as everywhere in MLflow's autologging.

    Args:
        log_models: whether the model is logged, or only parameters, metrics and figures.
        registered_model_name: each logged model becomes a version of this registered model.
        exclusive: log only to runs that autologging made, not to a run that is active already.
        disable: takes the logging away again.
        silent: no messages and warnings of the logging.
        extra_tags: tags of the runs that autologging makes.
    """
    from mlflow_hydraulic.rig import train as training  # a process that only loads models does not need it

    safe_patch(INTEGRATION, training, "train", _train_and_log, manage_run=True, extra_tags=extra_tags)


def _train_and_log(original: Callable[..., TrainingResult], cycles: Cycles, **kwargs: object) -> TrainingResult:
    from mlflow_hydraulic.plugin import tracking  # it imports the flavor, which imports this module

    result = original(cycles, **kwargs)
    tracking.log_evidence(result, cycles)
    if get_autologging_config(INTEGRATION, "log_models", True):
        name = get_autologging_config(INTEGRATION, "registered_model_name", None)
        tracking.log_model(result, registered_model_name=name)
    return result
