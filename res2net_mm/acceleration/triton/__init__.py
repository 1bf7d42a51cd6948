"""Accelerated backbones on NVIDIA GPUs."""
