"""Answers of a trained detector: about files, about a stream, and while a microphone listens."""
