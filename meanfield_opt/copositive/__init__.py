"""Copositive matrices and programs, every answer with a proof or a witness."""
