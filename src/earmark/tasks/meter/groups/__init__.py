"""The feature groups of the task: one module each, a pure function of arrays and the group that calls it on a clip."""
