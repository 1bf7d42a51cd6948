"""Datasets, transforms and checks of data."""
