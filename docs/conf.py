"""Settings of the site that `make docs` builds: strict, and readable from a folder without a network."""

import re
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS.parent), str(DOCS)]

import generated  # noqa: E402

project = 'noisyjax'
copyright = 'the noisyjax contributors'
extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon']
html_theme = 'furo'
html_title = 'noisyjax'
html_copy_source = False
exclude_patterns = ['**.ipynb']
myst_heading_anchors = 3  # [text](page.md#heading)

autodoc_class_signature = 'separated'  # results are read, not built: only what a page asks for shows its arguments
autodoc_member_order = 'bysource'
autodoc_typehints_format = 'short'
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # an attribute of a docstring is no second entry beside the class's own
napoleon_custom_sections = [('Class attributes', 'params_style')]
default_role = 'code'  # `name` in docstrings

# References to noisyjax's own objects must resolve; there is no inventory of other packages' to look theirs up in.
nitpicky = True
nitpick_ignore_regex = [('py:.*', r'(?!noisyjax\.).*')]


def _plain(app, what, name, obj, options, lines):
  """Keeps |x| from being a substitution of reStructuredText, and a module's indented lines as they are."""
  del app, name, obj, options
  text = re.sub(r'(`[^`]*`)|\|', lambda found: found[1] or r'\|', '\n'.join(lines))
  if what == 'module':
    text = re.sub(r'(?<=\n\n)((?:  .*\n?)+)', r'::\n\n\1', text)
  lines[:] = text.split('\n')


def setup(app):
  """Writes the pages that are made of the code, before Sphinx looks for pages."""
  app.connect('autodoc-process-docstring', _plain)
  generated.write(DOCS.parent / 'build' / 'generated')
