"""The ledger for pages and REST API: rows, files, and whether its chain holds."""
