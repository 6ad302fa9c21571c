"""A task store that goes on, with this host's own records, while the shared one is away."""

from stepwell.stores.fallback.store import FallbackStore

__all__ = ["FallbackStore"]
