"""The program `stepwell`; it works on the settings' store by itself, no server is needed.

Modules are imported where they are used: `stepwell validate` must not wait for what only `stepwell run` needs.
"""

from stepwell.cli.app import main

__all__ = ["main"]
