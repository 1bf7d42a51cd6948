"""Checkpoint files: key layouts, loading, conversion, public weights."""
