"""Sphinx configuration: MyST Markdown, furo, warnings are errors in `make docs`."""

from importlib.metadata import version as installed_version

project = "earmark"
author = "The earmark authors"
copyright = "The earmark authors, Apache-2.0"
release = version = installed_version("earmark")

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"earmark {release}"
html_extra_path = ["reference/earmark.schema.json"]
