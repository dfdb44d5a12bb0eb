"""Scores of detectors: files, windows, calibration, and changes in time."""
