"""The app of the examples in the README and the docs."""
