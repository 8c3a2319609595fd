"""The prediction record: what was asked and answered, kept by the scorer, shipped to a store, read in windows."""
