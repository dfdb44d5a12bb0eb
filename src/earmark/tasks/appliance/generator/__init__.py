"""A synthetic room: background, machines and disturbances at the levels of a real one, for tests and the demo."""
