"""The feature groups of the task: one module each, a pure function of the samples of one window."""
