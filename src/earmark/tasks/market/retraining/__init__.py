"""Training again where time, drift or a loss of accuracy asks for it; promoted by the gate of every training."""
