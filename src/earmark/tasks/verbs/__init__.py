"""What the verbs of the command line do, for callers in Python too: one module per verb, over a `Project`."""
