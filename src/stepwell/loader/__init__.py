"""From YAML text to a `Workflow`: every problem at once, each with its place; and the catalog of a folder."""

from stepwell.loader.catalog import Catalog
from stepwell.loader.definition import Broken, Definition
from stepwell.loader.loading import load
from stepwell.loader.schema import schema

__all__ = ["Broken", "Catalog", "Definition", "load", "schema"]
