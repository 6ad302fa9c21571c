"""The HTTP API: what `service` can do, with problem documents for what goes wrong."""

from stepwell.api.app import create_app

__all__ = ["create_app"]
