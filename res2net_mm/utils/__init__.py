"""Helpers that import neither torch nor a toolbox."""
