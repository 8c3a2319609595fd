"""Every error of this package reaches MLflow's callers with a code of its own, and its command line as one line."""

from __future__ import annotations

import pickle

import click
import pytest
from click.testing import CliRunner
from mlflow.exceptions import MlflowException

from mlflow_hydraulic import errors
from mlflow_hydraulic.errors import BadInput, HydraulicError
from mlflow_hydraulic.plugin.errors import ERROR_CODES, PluginError, to_mlflow, translated

STATUS = [
    (errors.BadInput("x"), "INVALID_PARAMETER_VALUE", 400),
    (errors.BadData(file="x", problem="y"), "INVALID_PARAMETER_VALUE", 400),
    (errors.NotFound("x"), "RESOURCE_DOES_NOT_EXIST", 404),
    (errors.Conflict("x"), "RESOURCE_CONFLICT", 409),
    (errors.Refused("x"), "PERMISSION_DENIED", 403),
    (errors.Untrusted("x"), "INVALID_STATE", 500),
    (errors.Failed("x"), "INTERNAL_ERROR", 500),
    (errors.Unavailable("x"), "TEMPORARILY_UNAVAILABLE", 503),
    (errors.HydraulicError("x"), "INTERNAL_ERROR", 500),
]


@pytest.mark.parametrize(("error", "code", "status"), STATUS, ids=str)
def test_each_error_has_its_code(error: HydraulicError, code: str, status: int) -> None:
    translation = to_mlflow(error)
    assert (translation.error_code, translation.get_http_status_code()) == (code, status)
    assert str(translation) == str(error)


def test_the_table_knows_every_error_class() -> None:
    assert set(HydraulicError.__subclasses__()) <= set(ERROR_CODES)


def test_a_subclass_takes_the_code_of_its_parent() -> None:
    class TooHot(BadInput):
        pass

    assert to_mlflow(TooHot("120 degC")).error_code == "INVALID_PARAMETER_VALUE"


def test_translated_as_block_keeps_the_cause() -> None:
    with pytest.raises(MlflowException, match="no such model") as raised, translated():
        raise errors.NotFound("no such model")
    assert isinstance(raised.value.__cause__, errors.NotFound)


def test_translated_as_decorator_passes_value_and_other_errors() -> None:
    @translated()
    def half(value: int) -> float:
        if value < 0:
            raise BadInput(f"value={value}: must not be negative")
        return 1 / value

    assert half(2) == 0.5
    with pytest.raises(PluginError, match="value=-1"):
        half(-1)
    with pytest.raises(ZeroDivisionError):
        half(0)


def test_the_command_line_shows_one_clean_line() -> None:
    @click.command()
    @translated()
    def deploy() -> None:
        raise errors.Unavailable("the target does not answer: try again later")

    result = CliRunner().invoke(deploy)
    assert result.exit_code == 1
    assert result.output == "Error: the target does not answer: try again later\n"


def test_it_survives_pickling_as_in_a_spark_worker() -> None:
    again = pickle.loads(pickle.dumps(to_mlflow(errors.NotFound("gone"))))  # noqa: S301 - our own bytes
    assert (str(again), again.error_code) == ("gone", "RESOURCE_DOES_NOT_EXIST")
