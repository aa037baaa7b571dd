"""Named problem families, one a file, each instance with its known answer where there is one."""

from .dataset import dataset
from .digits import digits
from .hypercube import hypercube

__all__ = ["dataset", "digits", "hypercube"]
