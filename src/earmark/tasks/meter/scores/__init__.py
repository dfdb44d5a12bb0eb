"""Music whose meter is known because it was made here: generated pieces, scores, MIDI files, and their rendering."""
