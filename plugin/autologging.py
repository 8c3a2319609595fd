"""The flavor's `autolog`: from then on `rig.train.train` logs what it does; notebooks and scripts call it."""

from __future__ import annotations

from typing import Any

from mlflow.utils.autologging_utils import autologging_integration, get_autologging_config, safe_patch

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


def _train_and_log(original: Any, *args: Any, **kwargs: Any) -> Any:  # Any: it has the signature of `train`
    from mlflow_hydraulic.plugin.tracking import log_training  # it imports the flavor, which imports this module

    result = original(*args, **kwargs)
    log_training(
        result,
        log_model=get_autologging_config(INTEGRATION, "log_models", True),
        registered_model_name=get_autologging_config(INTEGRATION, "registered_model_name", None),
    )
    return result
