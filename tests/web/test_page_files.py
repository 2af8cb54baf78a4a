"""The files of the play page and the viewer: current, whole, and with nothing from elsewhere."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from play_pages import served

from worldmodel.errors import WrongUse
from worldmodel.evaluation import subject
from worldmodel.melee.stages import GEOMETRY
from worldmodel.schema import LAYOUT
from worldmodel.web import facts, site, vendor

STATIC = site.STATIC
OURS = ("stage", "viewer", "play")


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """What looks like an export."""
    made = tmp_path / "export"
    made.mkdir()
    (made / "step.onnx").write_bytes(b"graph")
    (made / "step_half.onnx").write_bytes(b"half")
    codec = {
        "codec_hash": LAYOUT.codec_hash,
        "model": {"run": "a-run"},
        "files": {"float32": {"file": "step.onnx"}, "half": {"file": "step_half.onnx"}},
    }
    (made / site.CODEC).write_text(json.dumps(codec))
    return made


def test_the_facts_are_current() -> None:
    assert facts.PATH.read_text(encoding="utf-8") == facts.text(), "run: python -m worldmodel.web.facts"


def test_the_facts_hold_the_geometry() -> None:
    told = facts.facts()["stages"]
    assert {int(number) for number in told} == set(GEOMETRY)
    for number, stage in GEOMETRY.items():
        assert told[str(number)]["blast"] == {side: getattr(stage, side) for side in ("left", "right", "top", "bottom")}
        assert len(told[str(number)]["platforms"]) == len(stage.platforms)


def test_the_runtime_is_the_one_that_is_named() -> None:
    for name, expected in vendor.SHA256.items():
        data = (vendor.FOLDER / vendor.kept_as(name)).read_bytes()
        plain = gzip.decompress(data) if name == vendor.COMPRESSED else data
        assert hashlib.sha256(plain).hexdigest() == expected
    kept = {vendor.kept_as(name) for name in vendor.SHA256} | {"README.md"}
    assert {path.name for path in vendor.FOLDER.iterdir()} == kept


def test_another_package_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.tgz").write_bytes(b"no archive")
    with pytest.raises(WrongUse, match="npm pack"):
        vendor.make(tmp_path / "other.tgz", tmp_path)


def test_no_field_is_named_in_the_pages() -> None:
    """As in the package: pages select by role. Columns come from facts.js."""
    roles = {role for row in LAYOUT.rows for role in row.roles}
    names = {row.name for row in LAYOUT.rows} - roles - {"x", "y"} | {column.name for column in LAYOUT.columns}
    wrong = [
        f"{path.name}: {text}"
        for room in OURS
        for path in sorted((STATIC / room).glob("*.js"))
        if path != facts.PATH
        for text in re.findall(r"[\"'`]([\w.]+)[\"'`]", path.read_text(encoding="utf-8"))
        if text in names
    ]
    assert not wrong


def test_every_file_says_what_it_owns() -> None:
    for room in OURS:
        for path in (STATIC / room).glob("*.[jch]*s*"):
            head = path.read_text(encoding="utf-8")[:700]
            assert "Owns:" in head, path.name
            assert "Must not:" in head, path.name


def test_a_site_is_whole(export: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    told = site.build(export, out)
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    worker = (out / site.WORKER).read_text(encoding="utf-8")
    listed = set(json.loads(re.search(r"FILES = (\[.*\])", worker)[1]))  # type: ignore[index]
    assert listed == files - {site.WORKER, ".nojekyll"} | {"./"}
    assert told["version"] in worker
    assert f"{site.MODEL}/step_half.onnx" in files
    assert f"{site.MODEL}/step.onnx" not in files, "the smallest graph is enough"
    assert json.loads((out / site.MODEL / site.CODEC).read_text())["files"].keys() == {"half"}


def test_every_import_and_link_of_a_site_is_in_it(export: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    site.build(export, out)
    missing = []
    for path in [*out.rglob("*.js"), out / site.INDEX]:
        text = path.read_text(encoding="utf-8")
        for found in re.findall(r"(?:\bfrom |\bimport\(|href=|src=)\"([^\"#\n]+)\"", text):
            if found.startswith(("../runs/", "../data/")):
                continue  # the shell's other views, which the site keeps its reader from
            base = path.parent if path.suffix == ".js" else out
            if not (base / found).resolve().exists():
                missing.append(f"{path.name}: {found}")
    assert not missing


def test_nothing_comes_from_another_host(export: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    site.build(export, out)
    for path in [*out.rglob("*.js"), *out.rglob("*.css"), out / site.INDEX]:
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://\w", text), path.name


def test_a_site_replaces_only_a_site(export: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    first = site.build(export, out)
    assert site.build(export, out) == first
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("dear")
    with pytest.raises(WrongUse, match="holds something else"):
        site.build(export, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").exists()


@pytest.mark.parametrize("damage", ["no codec", "no JSON", "another schema", "no graph"])
def test_what_is_no_export_is_refused(export: Path, tmp_path: Path, damage: str) -> None:
    path = export / site.CODEC
    if damage == "no codec":
        path.unlink()
    elif damage == "no JSON":
        path.write_text("{")
    elif damage == "another schema":
        path.write_text(path.read_text().replace(LAYOUT.codec_hash, "0" * 16))
    else:
        (export / "step.onnx").unlink()
    with pytest.raises(WrongUse):
        site.build(export, tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_released_weights_are_missed_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(subject, "RELEASED", tmp_path)
    with pytest.raises(WrongUse, match="no released weights in this package"):
        subject.released()


def _asked(url: str, path: str, host: str | None = None) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    connection.putrequest("GET", path, skip_host=True)
    connection.putheader("Host", host if host is not None else urlsplit(url).netloc)
    connection.endheaders()
    return connection.getresponse()


def test_the_server_gives_its_folder_to_its_own_pages(export: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    site.build(export, out)
    (tmp_path / "secret").write_text("secret")
    with served(out) as server:
        assert server.url.startswith("http://127.0.0.1:")
        assert _asked(server.url, "/").status == 200
        assert _asked(server.url, "/vendor/ort.wasm.min.mjs").getheader("Content-Type") == "text/javascript"
        assert _asked(server.url, "/", "localhost:1").status == 200
        for host in ("evil.example", "", "127.0.0.1.evil.example", "192.168.0.7", "[bad"):
            assert _asked(server.url, "/", host).status in (400, 421), host
        for path in ("/../secret", "/%2e%2e/secret", "/..%2fsecret", "/vendor/", "/nothing", "//secret"):
            assert _asked(server.url, path).status == 404, path
    with pytest.raises(WrongUse, match="another --port"), served(out) as one, served(out, one.server_address[1]):
        pass
