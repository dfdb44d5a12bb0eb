"""Search for settings of a training: groups of settings one after another, each frozen before the next."""
