"""python -m meanfield_opt.cli"""

import sys

from .main import main

sys.exit(main())
