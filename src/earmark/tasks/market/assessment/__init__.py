"""What a market model is worth: scores, drift, latency, and two models on one stream."""
