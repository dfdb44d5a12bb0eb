"""The second source: songs with averaged arousal and valence, from audio or from openSMILE tables."""
