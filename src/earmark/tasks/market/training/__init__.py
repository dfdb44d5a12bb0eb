"""Training of market models: configuration, the verb `train`, the gate of promotion, tracking."""
