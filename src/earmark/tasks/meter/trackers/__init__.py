"""Trackers: what hears beats and bars in a clip, each a feature group of events."""
