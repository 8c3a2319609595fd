"""`python -m mlflow_hydraulic.cli`: the command line where the console script is not on PATH (supervised processes)."""

from mlflow_hydraulic.cli import main

main(prog_name="hydraulic")
