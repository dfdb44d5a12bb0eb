"""Collections of DJ software: rekordbox, Serato and playlists, read as label files and written."""
