"""Copies and training steps of a model that compute the same, faster."""
