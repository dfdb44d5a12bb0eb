"""Answers about files, streams and microphones: windows, the model that speaks, and the messages."""
