"""``python -I -m strata.worker``: how a host starts a worker."""

from strata.worker.cli import main

main()
