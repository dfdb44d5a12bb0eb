"""How a run's thresholds are chosen: on windows that no model scored had learnt from."""
