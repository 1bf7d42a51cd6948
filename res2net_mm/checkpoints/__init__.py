"""Checkpoint files: how libraries name weights, reading and writing, loading, conversion, downloads."""
