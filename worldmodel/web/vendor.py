"""`static/vendor/`: ONNX Runtime Web, made again from its npm package. `python -m worldmodel.web.vendor PACKAGE.tgz`.

    npm pack onnxruntime-web@1.30.0 && python -m worldmodel.web.vendor onnxruntime-web-1.30.0.tgz

Owns: which files of the package the page needs, and their checksums. Must not: download anything, change a file.

The pure WASM build: three files. The WebAssembly module is kept compressed (14 MB -> 3.7 MB), and the page decompresses
it, so that any static host will do, also one that compresses nothing.
"""

from __future__ import annotations

import gzip
import hashlib
import sys
import tarfile
from pathlib import Path

from worldmodel.errors import WrongUse
from worldmodel.runs import atomic

VERSION = "1.30.0"
FOLDER = Path(__file__).parent / "static" / "vendor"
COMPRESSED = "ort-wasm-simd-threaded.wasm"
SHA256: dict[str, str] = {
    "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    COMPRESSED: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
"""Of the files as the package has them."""


def kept_as(name: str) -> str:
    """Name of a file of the package in `static/vendor/`."""
    return f"{name}.gz" if name == COMPRESSED else name


def make(package: Path, folder: Path = FOLDER) -> None:
    """Write the files of an npm package. Raises WrongUse if it is another version, or a file is not what we know."""
    way_out = f"make it with: npm pack onnxruntime-web@{VERSION}"
    try:
        with tarfile.open(package) as archive:
            for name, expected in SHA256.items():
                member = archive.extractfile(f"package/dist/{name}")
                data = b"" if member is None else member.read()
                found = hashlib.sha256(data).hexdigest()
                if found != expected:
                    raise WrongUse(f"{name} of {package.name} has SHA-256 {found}", expected, way_out)
                packed = gzip.compress(data, 9, mtime=0) if name == COMPRESSED else data
                atomic.write_bytes(folder / kept_as(name), packed)
    except (OSError, KeyError, tarfile.TarError) as error:
        raise WrongUse(f"{package}: {error}", f"the npm package onnxruntime-web {VERSION}", way_out) from error


if __name__ == "__main__":
    make(Path(sys.argv[1]))
