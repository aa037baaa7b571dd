"""The built-in activations. They are found through the same entry points as anybody else's."""
