"""The flavor on Spark workers (`mlflow.pyfunc.spark_udf`). Needs the extra `spark` and Java, and says so if not."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import numpy as np
import pytest

from mlflow_hydraulic.rig.model import HydraulicModel
from tests.integration.conftest import make_rows

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [
    pytest.mark.slow,
    # Spark and MLflow's use of it warn of each other's and of pandas' coming versions, and Spark keeps sockets open.
    pytest.mark.filterwarnings("ignore"),
]
ROWS = make_rows(50, seed=2)


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    sql = pytest.importorskip(
        "pyspark.sql", reason="pyspark is not installed: pip install 'mlflow-hydraulic[spark]' to test spark_udf"
    )
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java 17 or newer, and no java is on PATH")
    builder = sql.SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)  # else the workers are whatever python3 is first on PATH
        session = builder.config("spark.driver.host", "127.0.0.1").getOrCreate()
        yield session
        session.stop()


def test_labels_on_spark(spark: SparkSession, small_saved: Path, small_model: HydraulicModel) -> None:
    udf = mlflow.pyfunc.spark_udf(spark, str(small_saved), env_manager="local", result_type="long")
    frame = spark.createDataFrame(ROWS).repartition(3)
    answer = frame.withColumn("answer", udf(*small_model.schema.names)).toPandas()
    assert len(answer) == len(ROWS)
    assert np.array_equal(answer["answer"], small_model.predict(answer))


def test_the_signature_tells_spark_the_type(
    spark: SparkSession, small_saved: Path, small_model: HydraulicModel
) -> None:
    udf = mlflow.pyfunc.spark_udf(spark, str(small_saved), env_manager="local")
    answer = spark.createDataFrame(ROWS).withColumn("answer", udf(*small_model.schema.names)).toPandas()
    assert [int(value) for value in answer["answer"]] == small_model.predict(answer).tolist()


def test_probabilities_on_spark(spark: SparkSession, small_saved: Path, small_model: HydraulicModel) -> None:
    udf = mlflow.pyfunc.spark_udf(
        spark,
        str(small_saved),
        env_manager="local",
        result_type="array<double>",
        params={"predict_method": "predict_proba"},
    )
    answer = spark.createDataFrame(ROWS).withColumn("answer", udf(*small_model.schema.names)).toPandas()
    assert np.array_equal(np.stack(answer["answer"]), small_model.predict_proba(answer))


def test_a_hole_in_the_rows_fails_with_its_place(spark: SparkSession, small_saved: Path) -> None:
    rows = ROWS.head(3).copy()
    rows.loc[2, "psa_bar"] = np.nan
    udf = mlflow.pyfunc.spark_udf(spark, str(small_saved), env_manager="local", result_type="long")
    with pytest.raises(Exception, match="column 'psa_bar': nan is no number") as raised:
        spark.createDataFrame(rows).coalesce(1).withColumn("answer", udf(*ROWS.columns)).collect()
    assert type(raised.value).__module__.startswith("pyspark.errors")
