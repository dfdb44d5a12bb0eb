"""MERT as a feature group: its network by the user's checkpoint, and the pooling of its layers."""
