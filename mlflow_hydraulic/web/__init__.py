"""The pages and their REST API, as a Flask blueprint inside MLflow's server. `plugin.site` gives it MLflow."""
