"""Strict YAML 1.2: text to JSON-like data that remembers where each part stands, or every problem with its place.

What differs from YAML's core schema, so that nobody is surprised:

- only `true` and `false` are booleans, only `null`, `~` and nothing are null (`yes`, `on`, `True`, `NULL` are text);
- a number with a leading zero (`010`), in another base (`0x1F`, `0o14`), with `_`, or in the form of a time or
  date is text; integers of more than 20 digits, `.inf` and `.nan` are refused;
- keys are text: `200:` is refused with the quoted spelling; no key stands twice;
- no tags, no merge keys (`<<`), one document, no NUL even when escaped (no store can hold it).

Texts of at most 32 MiB, 64 levels and 2,000,000 values are read; aliases may add 10,000 values, counted before any is
built. Aliased data are independent copies.
"""

from stepwell.strict_yaml.document import Document
from stepwell.strict_yaml.lines import quoted
from stepwell.strict_yaml.reading import parse
from stepwell.strict_yaml.source import Place

__all__ = ["Document", "Place", "parse", "quoted"]
