"""Runs queued tasks: `QUEUE_ENABLED=true python run_worker.py`. Settings are those of `run.py`."""

import sys

from stepwell.worker.program import main

if __name__ == "__main__":
    sys.exit(main())
