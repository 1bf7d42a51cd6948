"""The same functions, faster."""
