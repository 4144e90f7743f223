"""``python -I -m strata.impair``."""

from strata.impair.cli import main

main()
