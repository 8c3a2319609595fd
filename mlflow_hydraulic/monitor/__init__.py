"""Monitoring: windows of predictions and actuals become findings, findings become alerts, alerts reach people."""
