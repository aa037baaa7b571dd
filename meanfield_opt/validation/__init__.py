"""Certified optima against networks trained in torch. torch is imported only inside functions."""
