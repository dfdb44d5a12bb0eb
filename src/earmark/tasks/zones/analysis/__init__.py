"""What drops and moods tell about zones: detection, thresholds, differences, maps."""
