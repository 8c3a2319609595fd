"""One module a dialect: a thin skin that parses a request into rows and writes scores back in its own shape."""
