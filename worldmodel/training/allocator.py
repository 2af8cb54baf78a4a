"""The C library's allocator, told to keep what a step frees: the next step wants it again.

Owns: three settings of glibc's malloc. Must not: matter for any result.

By default every large temporary is mapped and handed back, and each first touch of a page costs the kernel
microseconds: most of a small model's step. Blocks of data (larger than the threshold) are still handed back.
"""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_SETTINGS = {_TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 64 << 20, _MMAP_THRESHOLD: 256 << 20}


def settle_allocator() -> bool:
    """Make the change for this process; False where there is no glibc, and nothing was changed."""
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    taken = [libc.mallopt(name, value) for name, value in _SETTINGS.items()]
    return all(result == 1 for result in taken)
