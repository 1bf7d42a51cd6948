"""Backbones on NVIDIA GPUs, by a convolution kernel in Triton."""
