"""What the pages and the REST API tell of deployments, and how one is tried."""
