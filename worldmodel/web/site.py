"""The static site: the play page and the viewer with one exported model, for any static host and without a network.

Owns: which files make the site. Must not: export a model (`export.folder`), serve one (`web.play`).

Any host will do: no headers are asked for, nothing is computed on the way, every address is relative.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from worldmodel.errors import WrongUse
from worldmodel.runs import atomic
from worldmodel.schema import LAYOUT

STATIC = Path(__file__).parent / "static"
PARTS = ("style.css", "shell", "stage", "viewer", "play", "vendor")
"""Of the pages, those that need no server."""
MODEL = "model"
CODEC, CARD = "codec.json", "MODEL_CARD.md"
INDEX, WORKER, MANIFEST = "index.html", "sw.js", "manifest.webmanifest"
NEVER = ("play/site.html", "play/sw.js")
"""What is filled in or is the local app's alone."""
CHOICE = ("int8", "half", "float32")
"""Kinds of graphs, the smallest first: a site has the first of them that was exported."""


def build(model: Path, out: Path, *, offline: bool = True) -> dict[str, Any]:
    """Write the site of an export folder: whole or not at all; an earlier site there is replaced.

    offline: browsers keep it for when there is no network. Returns {files, bytes, version}. Raises WrongUse.
    """
    codec = read_codec(model)
    kind = next(kind for kind in CHOICE if kind in codec["files"])
    codec["files"] = {kind: codec["files"][kind]}
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / MODEL / CODEC).is_file())):
        raise WrongUse(f"{out} holds something else", "a new folder, or an earlier site", "name another folder")
    with atomic.new_folder(out) as aside:
        for name, data in _files(model, codec):
            atomic.write_bytes(_room(aside / name), data)
        page = (STATIC / "play" / "site.html").read_text(encoding="utf-8")
        atomic.write_text(aside / INDEX, page.replace("@OFFLINE", "offline" if offline else "online"))
        atomic.write_text(aside / MANIFEST, json.dumps(_manifest(codec), indent=1))
        files = sorted(path.relative_to(aside).as_posix() for path in aside.rglob("*") if path.is_file())
        version = _version(aside, files)
        if offline:
            worker = (STATIC / "play" / "sw.js").read_text(encoding="utf-8")
            listed = json.dumps(["./", *files])
            atomic.write_text(aside / WORKER, worker.replace('"@FILES"', listed).replace("@VERSION", version))
        atomic.write_text(aside / ".nojekyll", "")  # GitHub Pages takes the files as they are
        size = sum((aside / name).stat().st_size for name in files)
    return {"files": len(files), "bytes": size, "version": version}


def read_codec(model: Path) -> dict[str, Any]:
    """The codec.json of an export folder. Raises WrongUse for any other folder, and for another schema's."""
    way_out = "give a folder that `worldmodel export RUN --out FOLDER` wrote"
    try:
        codec = json.loads((model / CODEC).read_text(encoding="utf-8"))
        found, files = codec["codec_hash"], codec["files"]
        missing = [told["file"] for told in files.values() if not (model / told["file"]).is_file()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WrongUse(f"{model} is no export ({type(error).__name__})", f"{CODEC} and its graphs", way_out) from error
    if found != LAYOUT.codec_hash:
        raise WrongUse(f"{model} has codec {found}", f"{LAYOUT.codec_hash}, this program's", "export the run again")
    if missing or not files:
        raise WrongUse(f"{model} lacks {', '.join(missing) or 'every graph'}", "all that codec.json lists", way_out)
    return codec  # type: ignore[no-any-return]


def _files(model: Path, codec: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    for part in PARTS:
        found = [STATIC / part] if (STATIC / part).is_file() else sorted((STATIC / part).rglob("*"))
        for path in found:
            name = path.relative_to(STATIC).as_posix()
            if path.is_file() and name not in NEVER:
                yield name, path.read_bytes()
    yield f"{MODEL}/{CODEC}", json.dumps(codec, ensure_ascii=False, separators=(",", ":")).encode()
    for name in (CARD, *(told["file"] for told in codec["files"].values())):
        if (model / name).is_file():
            yield f"{MODEL}/{name}", (model / name).read_bytes()


def _room(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _manifest(codec: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "worldmodel",
        "short_name": "worldmodel",
        "description": f"A learned world model of Melee, to be played: {codec['model'].get('run') or 'weights'}",
        "start_url": "./",
        "display": "standalone",
        "background_color": "#0d0f14",
        "theme_color": "#0d0f14",
        "icons": [{"src": "shell/mark.svg", "sizes": "any", "type": "image/svg+xml"}],
    }


def _version(folder: Path, files: list[str]) -> str:
    """Of the content of all files."""
    digest = hashlib.sha256()
    for name in files:
        digest.update(name.encode() + b"\0" + hashlib.sha256((folder / name).read_bytes()).digest())
    return digest.hexdigest()[:16]
