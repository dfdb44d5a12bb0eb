"""Cross-validation, final fits, resumable searches and the run folders they leave."""
