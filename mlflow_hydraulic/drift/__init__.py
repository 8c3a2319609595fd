"""Drift, anomalies and their thresholds: pure statistics of arrays, without files, clocks or models."""
