"""A fake Kubernetes API server and a simulated Seldon operator, for tests. What it does not imitate: README.md."""
