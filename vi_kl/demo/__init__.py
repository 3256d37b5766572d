"""Worked stories that are part of the package."""
