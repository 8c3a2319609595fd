"""Canary: a new champion gets its share of the callers step by step, and each step is judged before the next. Pure."""
