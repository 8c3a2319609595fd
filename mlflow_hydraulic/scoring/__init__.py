"""The scorer: one ASGI process that answers in four dialects with the same numbers."""
