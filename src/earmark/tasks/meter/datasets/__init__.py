"""Data sets of time signatures: each loader reads one into rows of the normal form, the importer makes one manifest."""
