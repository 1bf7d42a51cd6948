"""Costs, receptive fields and maps of models."""
