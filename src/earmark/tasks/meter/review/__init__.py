"""What a person should listen to again: labels that nothing supports, segments unlike their song, broken audio."""
