"""Torch building blocks: frames as tensors, the codec between frames and vectors, the state-space scan."""
