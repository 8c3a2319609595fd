"""The pages, an area a module; importing this declares them all."""
