"""BEATs: the encoder of a user's checkpoint, from the Kaldi filter bank to tokens."""
