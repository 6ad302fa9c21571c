"""Queues ring for tasks that are to be run; the store holds the truth."""
