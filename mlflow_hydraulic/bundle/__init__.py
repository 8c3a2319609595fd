"""The portable scoring artefact: an ONNX graph, its schema and baseline, and the certificate of its parity."""
