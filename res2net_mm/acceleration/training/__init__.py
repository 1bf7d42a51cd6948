"""Accelerated training."""
