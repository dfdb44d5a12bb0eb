"""What is said of a recording, from beats and class probabilities: pure functions, no audio, no files."""
