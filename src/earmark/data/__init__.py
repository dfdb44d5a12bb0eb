"""Manifest, groups, splits, the sealed test set and the dataset that training sees."""
