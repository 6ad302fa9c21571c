"""Serves the API and runs its tasks: `python run.py`. Settings come from the environment, `.env` and CONFIG_FILE."""

import sys

from stepwell.api.server import main

if __name__ == "__main__":
    sys.exit(main())
