"""What the pages and the REST API tell of model versions."""
