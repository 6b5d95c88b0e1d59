"""`python -m runtime` is `lumbre`."""

import sys

if sys.version_info < (3, 11):  # said before anything is imported that needs it
    sys.exit(f"lumbre needs Python 3.11 or newer; this is {sys.version.split()[0]}")

from runtime.cli import main

main()
