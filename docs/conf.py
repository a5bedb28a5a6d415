"""Settings of the documentation: `sphinx-build -W -b html docs OUT`."""

from importlib.metadata import version as version_of

project = "nearedge"
author = "the nearedge developers"
project_copyright = author
release = version = version_of("nearedge")
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "index"
exclude_patterns = ["_build"]
myst_heading_anchors = 3
myst_enable_extensions = ["smartquotes"]
html_theme = "furo"
html_title = f"nearedge {release}"
html_copy_source = False
nitpicky = True
