"""Named problem families, one a file, each instance with its known answer where there is one."""

from .dataset import dataset
from .deep_hypercube import deep_hypercube
from .digits import digits
from .hypercube import hypercube

__all__ = ["dataset", "deep_hypercube", "digits", "hypercube"]
