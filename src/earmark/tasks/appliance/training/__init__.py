"""Training of detectors: folds by protocol, calibration, baselines, and what a run keeps."""
