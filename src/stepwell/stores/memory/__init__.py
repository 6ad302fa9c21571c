"""A task store in memory: the twin of the SQL store for tests and for runs that need not outlive the process."""

from stepwell.stores.memory.store import MemoryStore

__all__ = ["MemoryStore"]
