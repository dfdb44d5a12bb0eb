"""Labels that lie in the future of each sample: looked up on the price track, decided by a rule."""
