"""What MLflow calls: flavor, deployments client, tracking of training. The only folder that imports MLflow."""
