"""The parts of the column-generation backend, one idea a file; usable on their own (see the module docstrings)."""
