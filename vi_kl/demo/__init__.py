"""Worked stories that the package carries."""
