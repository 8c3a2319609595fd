"""What pages and REST API do: shown before it is done, judged, and done with a reason."""
