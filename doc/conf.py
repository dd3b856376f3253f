"""How Sphinx builds the documentation; warnings and dangling references are errors (`make doc`)."""

import ave

project = "AVE logging"
author = "the AVE logging authors"
project_copyright = f"2026, {author}"
release = version = ave.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
exclude_patterns = ["_build"]
default_role = "literal"
autodoc_typehints = "none"
html_theme_options = {"description": "One GUID per test run; no line lost", "fixed_sidebar": True}
html_show_sourcelink = False
