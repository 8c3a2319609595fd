"""Another project's model: wines by cultivar, scikit-learn, logged with MLflow's own sklearn flavor.

Nothing in here knows of mlflow-hydraulic. Run it, then deploy what it registered by the commands that it prints.
MLFLOW_TRACKING_URI says where to (for instance sqlite:///mlflow.db).
"""

from __future__ import annotations

import json

import mlflow
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

NAME = "wine-cultivar"


def wines() -> tuple[pd.DataFrame, pd.Series]:
    """178 wines: twelve measured numbers, the colour as a word, and the cultivar as its name."""
    data = load_wine(as_frame=True)
    table = data.data.rename(columns={"od280/od315_of_diluted_wines": "od280_od315"})
    words = pd.cut(table.pop("color_intensity"), [0, 3.5, 6, 20], labels=["pale", "medium", "deep"])
    return table.assign(colour=words.astype(str)), pd.Series(data.target_names[data.target], name="cultivar")


def train() -> None:
    X, y = wines()
    columns = make_column_transformer((OneHotEncoder(), ["colour"]), remainder=StandardScaler())
    model = make_pipeline(columns, LogisticRegression(max_iter=1000)).fit(X, y)
    with mlflow.start_run(run_name=NAME):
        mlflow.log_metric("accuracy_5_fold", cross_val_score(model, X, y, cv=5).mean())
        info = mlflow.sklearn.log_model(
            model,
            name="model",
            input_example=X.iloc[[0]],
            registered_model_name=NAME,
        )
    ask = {"dataframe_split": X.iloc[[0]].to_dict(orient="split", index=False)}
    print(f"mlflow deployments create -t seldon-local --name wine -m models:/{NAME}/{info.registered_model_version}")
    print("mlflow deployments get -t seldon-local --name wine   # says the endpoint")
    print(f"curl ENDPOINT/invocations -H 'Content-Type: application/json' -d '{json.dumps(ask)}'")


if __name__ == "__main__":
    train()
