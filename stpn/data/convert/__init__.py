"""Annotations of other programs -> the plain format, one file a format (datasets/prepare_*.py)."""
