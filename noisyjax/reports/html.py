"""A self-contained HTML page: its style and images are embedded, and it uses no other file and no network."""

import base64
from html import escape

CSS = """
body{font:15px/1.5 system-ui,sans-serif;color:#22272e;background:#f6f7f9;margin:0}
main{max-width:1080px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:26px;margin:0 0 2px}
"""


def page(title: str, body: str, css: str = '') -> str:
  """Returns a page.

  Args:
    title: title of the page, not escaped.
    body: HTML of the page.
    css: CSS rules in addition to those of all pages.
  """
  return (
    '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    f'<title>{escape(title)}</title><style>{CSS}{css}</style></head><body><main>\n{body}</main></body></html>\n'
  )


def image(content: bytes, text: str, kind: str = 'png', attributes: str = '') -> str:
  """Returns an embedded image.

  Args:
    content: content of the image file.
    text: alternative text, not escaped.
    kind: type of the file, png or jpeg.
    attributes: further HTML attributes, such as ' class=pixels'.
  """
  encoded = base64.b64encode(content).decode()
  return f'<img alt="{escape(text)}"{attributes} src="data:image/{kind};base64,{encoded}">'
