"""Models of windows of rows: direction, confidence and expected return of each window's last row."""
