"""Features computed again from raw rows, each session once per content and code."""
