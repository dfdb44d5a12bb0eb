"""Commands whose options are those of the task `market`."""
