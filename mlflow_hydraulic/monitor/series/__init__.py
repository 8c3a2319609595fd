"""Series of a deployment for the monitoring page, from record, true values, versions and evidence; bounded."""
