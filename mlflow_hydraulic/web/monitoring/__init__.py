"""What the pages and the REST API tell of how a deployment serves, and of alerts."""
