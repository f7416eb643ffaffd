"""The pictures of runs, a file each, as PNG.

What needs true or test labels is drawn dotted in the audit colors, and called "audit" where it stands.
"""
