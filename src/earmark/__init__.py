"""Train, test and run classifiers of signals; see the README for a tour."""
