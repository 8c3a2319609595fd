"""Dashboards and data sources for Grafana. `files.tree` gives all files; `hydraulic monitor grafana` writes them."""
