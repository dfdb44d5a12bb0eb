"""Whether the stored rows are sound, enough and worth training on."""
