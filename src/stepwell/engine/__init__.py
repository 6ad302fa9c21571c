"""The engine: claim → run steps → finish."""
