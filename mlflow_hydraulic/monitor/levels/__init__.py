"""The levels of monitoring, one a module: each turns what was recorded in a window into findings. Pure."""
