"""`stepwell dev`: Redis, the API and a worker in one terminal, begun anew when Python files change."""
