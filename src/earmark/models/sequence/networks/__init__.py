"""Networks of sequence models; every module here imports torch and is imported only to fit, predict or export."""
