"""Branch and bound over simplicial cones: the compiled search. What it finds is proved again by ``checker.cones``."""
