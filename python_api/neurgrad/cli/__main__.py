"""``python -m neurgrad.cli`` is ``negkernel``."""

import sys

from neurgrad.cli import main

sys.exit(main())
