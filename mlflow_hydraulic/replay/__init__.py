"""Replay: rows of a file sent to a scorer once each, in their order, with faults if wanted, and their true values."""
