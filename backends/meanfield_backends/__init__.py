"""Solver backends, one a file; each is found through its entry point."""
