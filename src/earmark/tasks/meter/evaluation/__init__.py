"""Scores of meters: as the field counts them, by data set and source, against controls and earlier records."""
