"""The target `seldon-local`: deployments as supervised processes on this machine, each behind one port."""
