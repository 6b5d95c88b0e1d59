"""`python -m runtime` is `lumbre`."""

from runtime.cli import main

main()
