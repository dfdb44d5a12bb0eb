"""Commands of the task `appliance` in its own form."""
