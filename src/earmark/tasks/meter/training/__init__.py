"""How meters are trained: models by their short names, token plans, seeds, ablations, the search and its finale."""
