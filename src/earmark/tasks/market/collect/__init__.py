"""The collector: what a venue sends, kept without loss, as raw rows and samples."""
