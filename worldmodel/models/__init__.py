"""Architectures, one file each; `base` holds what they share and finds them by file name."""
