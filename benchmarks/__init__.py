"""Benchmarks: ratios measured in one run against a named peer; see `make bench`."""
