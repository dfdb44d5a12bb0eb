"""Commands of the task `meter` in its own form."""
