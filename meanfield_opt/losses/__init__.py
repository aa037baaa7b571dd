"""The built-in losses. They are found through the same entry points as anybody else's."""
