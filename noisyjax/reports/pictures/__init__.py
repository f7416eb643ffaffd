"""Pictures of runs as PNG, one kind per file.

Whatever depends on true or test labels is drawn dotted in the audit colors and labeled "audit".
"""
