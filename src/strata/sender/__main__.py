"""``python -I -m strata.sender``: how the demonstration starts a sender."""

from strata.sender.cli import main

main()
