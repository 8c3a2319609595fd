"""The evidence database: the ledger, the controller's lease and its memory of failures. Never a copy of intent."""
