"""Accuracy: true values that arrive late, joined with what was predicted, measured with intervals; or estimated."""
