"""Zones of files as the page and the JSON API answer them: what may be asked, the answers, and files to take away."""
