"""The HTTP API: what `service` can do, with problem documents for what goes wrong."""
