"""Answers written into the tags of audio files, with a journal that takes them back."""
