"""`python -m loadtest` is `lumbre loadtest`."""

import sys

from runtime.cli import main

sys.argv[1:1] = ["loadtest"]
main()
