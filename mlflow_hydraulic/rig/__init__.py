"""The hydraulic test rig: its sensors, its data, features of its load cycles, and models of its condition."""
