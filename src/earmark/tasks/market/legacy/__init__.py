"""Batches of an earlier collector, npy and json: read, written, labelled and migrated."""
