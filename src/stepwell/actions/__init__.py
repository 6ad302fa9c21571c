"""The actions that come with Stepwell: importing this package registers all of them."""

from stepwell.actions import files, flow, http, http_download, parse, template

__all__ = ["files", "flow", "http", "http_download", "parse", "template"]
