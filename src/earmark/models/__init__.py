"""Estimators with ``fit`` and ``predict_proba``, each with a file format that executes nothing when read."""
