"""BeatNet: a causal recurrent network for beats and downbeats, by its published weights."""
