"""The independent checker: no solver, no compiled code, no import of the proof engines.

It recomputes every number of a certificate from the problem's data with directed rounding or exact arithmetic.
"""
