"""A CPU engine: whole backbones in one call of compiled code (README.md)."""
