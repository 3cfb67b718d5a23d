"""The configuration of Sphinx, which C{tools.site} runs on a copy of the pages."""

from __future__ import annotations

project = html_title = "socketd"
html_copy_source = html_show_sphinx = False
root_doc = "README"
extensions = ["myst_parser"]
# As far as the pages link into each other's chapters.
myst_heading_anchors = 3
# Colours for blocks that no lexer knows are not worth a warning.
suppress_warnings = ["misc.highlighting_failure"]
html_theme = "furo"
html_extra_path = ["extra"]
