"""Beat This!: a transformer for beats and downbeats, by a published checkpoint."""
