"""Where models run. `spec` is what is to run, the same for every target."""
