"""The JSON API: what ``--format json`` prints, by HTTP."""
