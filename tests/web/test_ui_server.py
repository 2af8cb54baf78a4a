"""The local server: what it refuses, what it survives, and that what it tells is what is there."""

# Fixtures are imported by name, and named again as arguments:
# ruff: noqa: F811

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ui_places import NUM_STEPS, Served, append_rows, make_run, serving, ui, ui_data, ui_runs  # noqa: F401

from worldmodel.clips.clip import Meta
from worldmodel.clips.files import read_clip
from worldmodel.dataset.store import open_dataset
from worldmodel.dynamics.chosen import choose_model
from worldmodel.dynamics.dream import Plan, dreams
from worldmodel.dynamics.recording import open_recording
from worldmodel.dynamics.world import World
from worldmodel.runs.folder import RunFolder
from worldmodel.training.config import load_experiment
from worldmodel.web import guard
from worldmodel.web.curves import Curves
from worldmodel.web.server import Listening, make_app

# ---- who may ask -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "localhost@evil.example"]
)
def test_a_name_that_is_not_this_machine_is_refused(ui: Served, host: str) -> None:
    """A foreign name may be made to point here: DNS rebinding."""
    assert ui.ask("/api/runs", host=host).status in (400, 421)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:1234", "LOCALHOST", "[::1]:99", "192.168.0.7:8321"])
def test_addresses_and_localhost_are_answered(ui: Served, host: str) -> None:
    assert ui.ask("/api/runs", host=host).status == 200


def test_a_chosen_name_is_answered(ui_runs: Path) -> None:
    with serving(ui_runs, names=["lab.example"]) as served:
        assert served.ask("/api/runs", host="lab.example:8321").status == 200
        assert served.ask("/api/runs", host="other.example").status == 421


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://localhost"])
def test_a_foreign_page_is_refused(ui: Served, origin: str) -> None:
    assert ui.ask("/api/runs", Origin=origin).status == 403
    assert ui.ask("/api/runs", Origin=f"http://127.0.0.1:{ui.port}").status == 200


def test_a_foreign_page_may_link_here_and_nothing_else(ui: Served) -> None:
    assert ui.ask("/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").status == 200
    assert ui.ask("/style.css", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors").status == 403
    assert ui.ask("/api/runs", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").status == 403


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_methods_that_change_things_are_refused(ui: Served, method: str) -> None:
    assert ui.ask("/api/runs/done", method).status == 405


def test_only_dreams_are_posted(ui: Served) -> None:
    assert ui.post("/api/runs").status == 405
    assert ui.post("/style.css").status == 405
    assert ui.ask("/api/runs/done/dream?game=0&start=9").status == 404
    # A form of a foreign page cannot be JSON.
    assert ui.ask("/api/runs/done/dream", "POST", b"{}", Content_Type="text/plain").status == 415


def test_oversized_inputs_are_refused(ui: Served) -> None:
    large = b"[" + b"0," * guard.MAX_BODY_BYTES + b"0]"
    target = "/api/runs/done/dream?game=0&start=9"
    assert ui.ask(target, "POST", large, Content_Type="application/json").status == 413
    assert ui.ask(target, "POST", large, Content_Type="application/json", Transfer_Encoding="chunked").status == 413
    assert ui.ask("/api/runs?" + "x" * guard.MAX_TARGET_BYTES).status in (400, 414)
    assert ui.ask("/api/runs", body=b"{}").status == 413


def test_every_answer_keeps_the_page_to_itself(ui: Served) -> None:
    for target in ("/", "/api/runs", "/api/none", "/shell/app.js"):
        headers = ui.ask(target).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe-inline" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


# ---- nothing but its folders -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "/../pyproject.toml",
        "/..%2f..%2f__init__.py",
        "/%2e%2e/%2e%2e/errors.py",
        "/shell/../../server.py",
        "//etc/passwd",
        "/shell/%00",
        "/..\\server.py",
    ],
)
def test_no_way_out_of_the_pages(ui: Served, target: str) -> None:
    assert ui.ask(target).status in (400, 404, 405)


@pytest.mark.parametrize("name", ["..", "%2e%2e", "..%2fdone", "done%2f..%2fdone", "%2fetc", "done%00", ".hidden", "."])
def test_no_way_out_of_the_runs(ui: Served, name: str) -> None:
    for target in (f"/api/runs/{name}", f"/api/runs/{name}/metrics", f"/api/compare?a={name}&b=done"):
        assert ui.ask(target).status == 404, target
    assert ui.post(f"/api/runs/{name}/dream?game=0&start=9").status in (404, 405)


def test_links_that_lead_out_are_not_followed(tmp_path: Path, ui_data: Path) -> None:
    outside, runs = tmp_path / "outside", tmp_path / "runs"
    (outside / "secret.txt").parent.mkdir()
    (outside / "secret.txt").write_text("model: secret")
    make_run(outside, "theirs")
    make_run(runs, "ours")
    (runs / "linked").symlink_to(outside / "theirs")
    (runs / "ours").joinpath("config.yaml").unlink()
    (runs / "ours" / "config.yaml").symlink_to(outside / "secret.txt")
    static = tmp_path / "static"
    static.mkdir()
    (static / "link.txt").symlink_to(outside / "secret.txt")
    with serving(runs, ui_data, folders={"more": static}) as served:
        rows = {row["id"]: row for row in served.get("/api/runs")["runs"]}
        assert set(rows) == {"ours"}
        assert rows["ours"]["state"] == "broken"
        assert "leads out" in rows["ours"]["why"]
        assert served.ask("/api/runs/linked").status == 404
        assert served.get("/api/runs/ours")["config"] is None
        assert served.ask("/api/runs/ours/metrics").status == 409
        assert served.ask("/more/link.txt").status == 404


def test_a_checkpoint_that_leads_out_is_not_loaded(tmp_path: Path, ui_runs: Path, ui_data: Path) -> None:
    run = make_run(tmp_path / "runs", "sly")
    run.checkpoints.mkdir()
    theirs = RunFolder(ui_runs / "done").all_checkpoints()[0].path
    (run.checkpoints / theirs.name).symlink_to(theirs)
    with serving(tmp_path / "runs", ui_data) as served:
        assert served.post("/api/runs/sly/dream?game=0&start=9&frames=2").status == 409


def test_pages_are_told_nothing_of_the_machine(ui: Served) -> None:
    for target in ("/api/runs", "/api/runs/done", "/api/runs/none", "/api/data", "/api/games"):
        assert b"/secret/" not in ui.ask(target).body or target == "/api/runs/done"
    assert "argv" not in ui.get("/api/runs/done")["provenance"]


# ---- half-written and broken -------------------------------------------------------------------------------------


def test_broken_folders_are_shown_as_that_and_the_others_as_ever(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    make_run(root, "sound")
    bad = {
        "torn-json": {"run.json": '{"started_at": "20', "status.json": '{"phase": "en'},
        "wrong-shapes": {"run.json": "[1, 2]", "status.json": '{"phase": 7, "process": "x", "step": "many"}'},
        "wrong-status": {"run.json": "{}", "status.json": '{"phase": "training", "process": {"pid": []}}'},
        "torn-rows": {"run.json": "{}", "metrics.jsonl": '{"kind":"train","step":1}\n\xff\n[]\n7\n{"kind":"val","st'},
        "strange-rows": {
            "run.json": "{}",
            "metrics.jsonl": '{"kind":[],"step":{}}\n{"step":"x","kind":"val","a":NaN}\n',
        },
        "nothing-but-a-launch": {"launch.json": "{"},
        "huge-config": {"run.json": "{}", "config.yaml": "x" * (2 << 20)},
        "only-config": {"config.yaml": "model:"},
        "bad-rules": {"run.json": "{}", "rules.yaml": "kill: 7"},
        "bad-card": {"run.json": "{}", "card.md": "---\nrun: [", "events.jsonl": '{"event":7}\n{"a":1}\n'},
    }
    for name, files in bad.items():
        (root / name).mkdir()
        for file, text in files.items():
            (root / name / file).write_bytes(text.encode("latin-1"))
    (root / "folders").mkdir()
    for name in ("run.json", "metrics.jsonl", "status.json", "events.jsonl"):
        (root / "folders" / name).mkdir()
    (root / "no-run").mkdir()
    (root / "a-file").write_text("x")
    with serving(root) as served:
        rows = {row["id"]: row for row in served.get("/api/runs")["runs"]}
        assert set(rows) == {"sound", "folders", *bad}
        assert rows["sound"]["state"] == "finished"
        assert rows["torn-json"]["state"] == rows["huge-config"]["state"] == "broken"
        for name in rows:
            told = served.ask(f"/api/runs/{name}")
            assert told.status == 200, (name, told.body)
            assert served.ask(f"/api/runs/{name}/metrics?names=a,loss/total").status in (200, 409, 503), name
        assert served.get("/api/runs/bad-rules")["problems"]


def test_what_grows_and_goes_is_seen(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    with serving(root) as served:
        assert served.get("/api/runs")["runs"] == []
        run = make_run(root, "new", phase="training", reason=None)
        assert [row["state"] for row in served.get("/api/runs")["runs"]] == ["running"]
        status = json.loads(run.status.read_text())
        run.status.write_text(json.dumps(status | {"phase": "ended", "reason": "rule: below"}))
        assert [row["state"] for row in served.get("/api/runs")["runs"]] == ["stopped by rule"]
        shutil.rmtree(run.path)
        assert served.get("/api/runs")["runs"] == []
        assert served.ask("/api/runs/new").status == 404


def test_looking_writes_nothing(tmp_path: Path, ui_data: Path) -> None:
    """`worldmodel runs` closes a run whose process is gone; a page does not."""
    run = make_run(tmp_path / "runs", "gone", phase="training", reason=None)
    status = json.loads(run.status.read_text())
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    run.status.write_text(json.dumps(status | {"process": status["process"] | {"pid": dead.pid}}))

    def content() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(run.path.rglob("*")) if path.is_file()}

    before = content()
    with serving(tmp_path / "runs", ui_data) as served:
        assert served.get("/api/runs")["runs"][0]["state"] == "vanished"
        for target in ("/api/runs/gone", "/api/runs/gone/metrics?names=loss/total", "/api/compare?a=gone&b=gone"):
            served.ask(target)
    assert content() == before


# ---- what it tells -----------------------------------------------------------------------------------------------


def test_a_run_as_it_is(ui: Served) -> None:
    told = ui.get("/api/runs/done")
    assert told["problems"] == []
    assert told["row"]["step"] == told["row"]["num_steps"] == NUM_STEPS
    assert told["row"]["metrics"] == {"val_loss/total": 6 / 40, "val_change_acc": 0.4, "val_pos_mae": 1 / 40}
    assert [rule["state"] for rule in told["rules"]] == ["ok", "ok"]
    assert 0 < told["rules"][1]["nearness"] < 1
    assert [(one["step"], one["is_complete"]) for one in told["checkpoints"]] == [(400, True)]
    assert told["config"].startswith("model:")
    assert told["card"] is None


def test_curves_come_whole_and_then_only_what_is_new(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", "grows")
    with serving(tmp_path / "runs") as served:

        def ask(since: str | None = None) -> dict[str, object]:
            return served.get("/api/runs/grows/metrics?names=loss/total" + (f"&since={since}" if since else ""))  # type: ignore[no-any-return]

        first = ask()
        assert first["whole"] is True
        assert first["steps_per_epoch"] == 200
        assert first["series"]["loss/total"]["step"] == [10 * k for k in range(1, 41)]  # type: ignore[index]
        assert "pace/examples_per_s" in first["names"]  # type: ignore[operator]
        again = ask(str(first["cursor"]))
        assert (again["whole"], again["series"], again["cursor"]) == (False, {}, first["cursor"])
        append_rows(run, 41, 43)
        with run.metrics.open("a") as file:
            file.write('{"kind":"train","step":440,"epoch":2.2,"loss/to')  # half a row is no row yet
        more = ask(str(first["cursor"]))
        assert more["whole"] is False
        assert more["series"]["loss/total"]["step"] == [410, 420, 430]  # type: ignore[index]
        with run.metrics.open("a") as file:
            file.write('tal":0.5}\n')
        last = ask(str(more["cursor"]))
        assert last["series"] == {"loss/total": {"step": [440], "value": [0.5]}}
        # Resumed from an earlier step: the file is cut, and grows beyond where it was.
        lines = run.metrics.read_text().splitlines(keepends=True)[:11]
        run.metrics.write_text("".join(lines))
        append_rows(run, 111, 170)
        anew = ask(str(last["cursor"]))
        assert anew["whole"] is True
        assert anew["series"]["loss/total"]["step"] == [*range(10, 101, 10), *range(1110, 1701, 10)]  # type: ignore[index]
        assert ask("nonsense")["whole"] is True
        assert ask("999999999-0-7")["whole"] is True


def test_a_thinned_curve_keeps_what_stands_out(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", "long")
    with run.metrics.open("w") as file:
        for step in range(1, 10_001):
            value = 99.0 if step == 5_003 else 1.0
            row = {"kind": "train", "step": step, "epoch": step / 1000, "loss/total": value}
            if step == 7_000:
                row |= {"loss/total": None, "non_finite": ["loss/total"]}
            file.write(json.dumps(row) + "\n")
    found = Curves().whole(run, ["loss/total"], 100)["series"]["loss/total"]
    assert len(found["step"]) == len(found["value"]) == len(found["low"]) == len(found["high"]) == 100
    assert max(found["high"]) == 99.0
    assert found["step"][-1] == 10_000
    assert None not in found["value"]


def test_unchanged_answers_are_not_sent_again_and_long_ones_small(ui: Served) -> None:
    for target in ("/api/runs/done", "/api/games", "/style.css"):
        first = ui.ask(target)
        again = ui.ask(target, If_None_Match=first.headers["etag"])
        assert (again.status, again.body) == (304, b"")
        small = ui.ask(target, Accept_Encoding="gzip")
        assert small.headers["content-encoding"] == "gzip"
        assert gzip.decompress(small.body) == first.body
        assert len(small.body) < 0.6 * len(first.body)


def test_names_with_spaces_and_signs(tmp_path: Path) -> None:
    make_run(tmp_path / "runs", "ein lauf, mit ä & %41 #1")
    with serving(tmp_path / "runs") as served:
        assert served.get("/api/runs/ein%20lauf%2C%20mit%20%C3%A4%20%26%20%2541%20%231")["row"]["state"] == "finished"


# ---- data, clips, dreams -----------------------------------------------------------------------------------------


def test_coverage_and_finding_a_game(ui: Served, ui_data: Path) -> None:
    games = open_dataset(ui_data).games
    about = ui.get("/api/data")
    assert about["num_games"] == games.num_rows == 60
    stages = about["coverage"]["stage"]
    assert sum(row["num_games"] for row in stages) == 60
    assert sum(row["num_games"] for row in about["coverage"]["character"]) == 120
    first = stages[0]
    found = ui.get(f"/api/games?stage={first['value'].replace(' ', '+').replace('é', '%C3%A9')}")
    assert found["num_games"] == first["num_games"]
    assert {row["stage"] for row in found["games"]} == {first["value"]}
    name = games["p0_character_name"][3].as_py()
    both = ui.get(f"/api/games?q={name.split()[0].lower()}+{games['game_id'][3].as_py()}")
    assert [row["number"] for row in both["games"]] == [3]
    assert ui.get("/api/games?q=no-such-word")["games"] == []
    second = ui.get("/api/games?page=2")
    assert (second["num_pages"], len(second["games"])) == (2, 10)
    lengths = [row["num_frames"] for row in ui.get("/api/games?sort=longest")["games"]]
    assert lengths == sorted(lengths, reverse=True)
    for wrong in ("page=0", "page=x", "sort=color"):
        assert ui.ask(f"/api/games?{wrong}").status == 400


def test_a_clip_is_the_frames_of_the_dataset(ui: Served, ui_data: Path, tmp_path: Path) -> None:
    file = tmp_path / "clip.json"
    answer = ui.ask("/api/games/5/clip?start=20&frames=30")
    file.write_bytes(answer.body)
    clip, game = read_clip(file), open_dataset(ui_data).game(5)
    assert (len(clip), clip.first_frame) == (30, game.info["first_frame_id"] + 20)
    for name, values in clip.frames.columns.items():
        assert np.array_equal(values, game[name][20:50].astype(values.dtype)), name
    assert ui.ask(f"/api/games/{game.info['game_id']}/clip?start=20&frames=30").body == answer.body
    for wrong in ("/api/games/60/clip", "/api/games/x/clip"):
        assert ui.ask(wrong).status == 404
    for wrong in ("start=-1", "start=999999", "frames=0", "frames=1000000", "start=1e3"):
        assert ui.ask(f"/api/games/5/clip?{wrong}").status == 400


def test_without_a_dataset_it_says_so(ui_runs: Path) -> None:
    with serving(ui_runs) as served:
        assert served.get("/api/data") == {"name": None}
        assert served.ask("/api/games").status == 404
        assert "--data" in served.post("/api/runs/done/dream?game=0&start=5").json["error"]


def test_a_dream_is_the_one_of_rollout(ui: Served, ui_runs: Path, ui_data: Path, tmp_path: Path) -> None:
    answer = ui.post("/api/runs/done/dream?game=5&start=60&frames=40")
    assert answer.status == 200, answer.body
    file = tmp_path / "dream.json"
    file.write_text(json.dumps(answer.json["clip"]))
    run = RunFolder(ui_runs / "done")
    chosen = choose_model(run.path)
    recording = open_recording(f"{ui_data}:5")
    plan = Plan([recording.first_frame + 60], 40, load_experiment(run.config).data.length)
    meta = Meta(kind="dream", run=chosen.run, weights_sha256=chosen.sha256)
    (expected,) = dreams(World(chosen.model), recording, plan, meta)
    assert read_clip(file).equals(expected)
    frames = answer.json["per_frame"]
    assert frames["num_frames"] == 40
    assert len(frames["position"][0]) == len(frames["same_action"][1]) == 40
    assert max(frames["position"][0]) > 0  # a model of random weights errs
    assert frames["differing"]
    assert all(0 <= first <= last < 40 for ranges in frames["differing"].values() for first, last in ranges)
    assert {"frame", "player", "name", "what"} >= set().union(*answer.json["contradictions"], set())
    assert ui.post("/api/runs/done/dream?game=5&start=60&frames=40").body == answer.body


def test_a_taken_pad_makes_another_future_of_one_player(ui: Served) -> None:
    true = ui.post("/api/runs/done/dream?game=5&start=60&frames=20").json["clip"]["columns"]
    sticks = [name for name in true if name.startswith("p1.pad.") and name.endswith("_x")]
    body = {"columns": {sticks[0]: [1.0] * 20}}
    answer = ui.post("/api/runs/done/dream?game=5&start=60&frames=20&player=1", body)
    assert answer.status == 200, answer.body
    clip = answer.json["clip"]
    assert clip["meta"]["kind"] == "what-if"
    held = clip["columns"]
    assert held[sticks[0]] == [1] * 20
    for name in true:
        if name.startswith("p1.pad.") and name != sticks[0]:
            assert set(held[name]) == {0}, name
        elif name.startswith("p0.pad."):
            assert held[name] == true[name], name
    alone = ui.post("/api/runs/done/dream?game=5&start=60&frames=20&player=0&pads=hold-forward").json["clip"]["columns"]
    assert all(alone[name] == true[name] for name in true if name.startswith("p1.pad."))
    assert alone != true


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("start=60&frames=99999", None),
        ("start=60&frames=0", None),
        ("start=999999", None),
        ("start=60&pads=/etc/passwd", None),
        ("start=60&pads=true&frames=1000", None),
        ("start=60&player=2", None),
        ("start=60&temperature=nan", None),
        ("start=60&temperature=-1", None),
        ("start=60&player=1", {"columns": {"p1.percent": [1.0]}}),
        ("start=60&player=1", [1]),
        ("start=60&player=1", {"columns": {}, "more": 1}),
        ("start=60&player=1", {"columns": {"p0.pad.trigger": [1.0]}}),
        ("start=60&player=1", {"columns": {"p1.pad.trigger": [7.0]}}),
        ("start=60", {"columns": {"p1.pad.trigger": [1.0]}}),
        ("frames=3", None),
    ],
)
def test_what_cannot_be_dreamed_is_refused_in_words(ui: Served, query: str, body: object) -> None:
    answer = ui.post(f"/api/runs/done/dream?game=5&{query}", body)
    assert answer.status == 400, answer.body
    assert len(answer.json["error"]) < 300


def test_runs_without_weights_or_evaluation_say_what_to_do(ui: Served) -> None:
    assert "no usable checkpoint" in ui.post("/api/runs/under-way/dream?game=5&start=60").json["error"]
    answer = ui.ask("/api/compare?a=done&b=under-way")
    assert (answer.status, "worldmodel eval" in answer.json["error"]) == (409, True)


# ---- the verb ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_verb_prints_its_address_and_ends_when_told(ui_runs: Path) -> None:
    command = [sys.executable, "-m", "worldmodel", "ui", "--runs", str(ui_runs), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("worldmodel ui: http://127.0.0.1:")
    port = int(line.rstrip().rstrip("/").rpartition(":")[2])
    assert Served(line.split(": ", 1)[1].strip(), port).get("/api/runs")["runs"]
    taken = subprocess.run([*command[:-1], str(port)], capture_output=True, text=True, check=False)
    assert taken.returncode == 2
    assert taken.stderr.count("\n") == 1
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode in (0, 130), err
    assert "Traceback" not in err


def test_short_answers_do_not_wait_for_more(tmp_path: Path) -> None:
    """asyncio turns Nagle's waiting off only for sockets that say that they are TCP; else each answer takes 40 ms."""
    listening = Listening(make_app(tmp_path), host="127.0.0.1", port=0)
    assert listening._socket.proto == socket.IPPROTO_TCP
    listening._socket.close()
