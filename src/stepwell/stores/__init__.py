"""Where tasks and files live: in memory, in SQL databases, in folders."""
