"""The log-in of pages, MLflow's page and both APIs, where MLflow's basic-auth is on. `plugin.login` gives it users."""
