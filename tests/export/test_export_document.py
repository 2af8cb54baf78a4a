"""What docs/export.md shows runs, and what it lists is there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from small_export import Exported

from worldmodel.dynamics.fresh import fresh_state
from worldmodel.export.client import keys_table
from worldmodel.export.graph import example, input_names, output_names
from worldmodel.melee.pad import stick_grid

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "export.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, flags=re.DOTALL)


def python_block(exported: Exported) -> dict:
    (block,) = blocks("python")
    names: dict = {}
    exec(compile(block.replace('"export"', repr(str(exported.path))), "export.md", "exec"), names)
    return names


def test_the_table_of_keys_is_current() -> None:
    assert f"<!-- keys -->\n{keys_table()}\n<!-- /keys -->" in DOCUMENT


def test_python_runs(exported: Exported, capsys: pytest.CaptureFixture[str]) -> None:
    """It ends where the model ends, from the same fresh match under the same pads."""
    import torch

    from worldmodel.dynamics.rollout import advance_model, nothing_seen
    from worldmodel.nn.frames import Pads

    names = python_block(exported)
    assert capsys.readouterr().out.startswith("after a second x is ")
    state, context = fresh_state(["Battlefield"] * 3, [("Fox", "Falco")] * 3)
    pads = Pads(torch.from_numpy(names["feeds"]["pad_numbers"]), torch.from_numpy(names["feeds"]["pad_buttons"]))
    carried = nothing_seen(exported.model, 3)
    for _ in range(60):
        state, carried = advance_model(exported.model, carried, state, pads, context)
    np.testing.assert_array_equal(names["feeds"]["categories"], state.categories)
    np.testing.assert_allclose(names["feeds"]["numbers"], state.numbers, atol=1e-2)


def test_inputs_and_outputs_are_all_named(exported: Exported) -> None:
    listed = set(re.findall(r"`([a-z_0-9]+)`", DOCUMENT))
    names = {*input_names(exported.model, sampling=True), *output_names(exported.model)}
    assert {name for name in names if not name.startswith("next_")} - listed == set()


def test_sizes_in_the_table_are_the_layouts(exported: Exported) -> None:
    for name, tensor in example(exported.model, 1).items():
        if name.startswith(("carried_", "stage")):
            continue
        (line,) = (
            line
            for line in DOCUMENT.splitlines()
            if line.startswith("|") and "(B," in line and f"`{name}`" in line.split("|")[1]
        )
        shapes = re.findall(r"\(B[,0-9]*\)", line)
        names = re.findall(r"`(\w+)`", line.split("|")[1])
        assert shapes[names.index(name)] == f"(B,{','.join(str(size) for size in tensor.shape[1:])})"


_FAKE = """
class Tensor { constructor(type, data, dims) { Object.assign(this, { type, data, dims }); } }
const ort = { Tensor };
const seen = [];
const session = {
  async run(feeds) {
    seen.push(Object.fromEntries(Object.entries(feeds).map(([name, t]) =>
      [name, { type: t.type, dims: t.dims, size: t.data.length, data: Array.from(t.data, Number) }])));
    return Object.fromEntries(Object.entries(codec.graph.followers).map(([input, output]) =>
      [output, { data: feeds[input].data.map((value) => (typeof value === "bigint" ? value + 1n : value ? 0 : 1)) }]));
  },
};
"""


def test_javascript_feeds_what_the_graph_takes(exported: Exported, tmp_path: Path) -> None:
    """With a stand-in for ONNX Runtime: names, types, shapes, a fresh match, and that outputs are fed back."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node")
    library, use = blocks("js")
    (tmp_path / "client.mjs").write_text(library)
    use = "\n".join(line for line in use.splitlines() if "InferenceSession" not in line)
    (tmp_path / "main.mjs").write_text(
        'import { readFileSync } from "node:fs";\n'
        'import { heard, newMatch, step } from "./client.mjs";\n'
        f"const codec = JSON.parse(readFileSync({json.dumps(str(exported.path / 'codec.json'))}));\n"
        f"{_FAKE}\n{use}\nawait step(ort, session, codec, match);\n"
        "const sticks = [[0.25, 0.3], [0.3, -0.5], [2, 0], [-1, -1]].map((stick) => heard(codec, stick));\n"
        "console.log(JSON.stringify({ seen, sticks }));\n"
    )
    done = subprocess.run([node, str(tmp_path / "main.mjs")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    first, second = told["seen"]

    graph = exported.graph()
    assert set(first) == set(graph.inputs)
    for name, (shape, dtype) in graph.inputs.items():
        assert np.dtype(first[name]["type"]) == np.dtype(dtype)
        assert first[name]["dims"] == [1, *shape]
        assert first[name]["size"] == int(np.prod(shape))
    state, context = fresh_state(["Battlefield"], [("Fox", "Falco")])
    np.testing.assert_array_equal(np.float32(first["numbers"]["data"]), state.numbers.flatten())
    np.testing.assert_array_equal(first["categories"]["data"], state.categories.flatten())
    np.testing.assert_array_equal(first["flags"]["data"], state.flags.flatten())
    assert first["stage"]["data"] == context.stage.tolist()
    assert first["pad_numbers"]["data"][:2] == [1, 0]
    np.testing.assert_array_equal(second["categories"]["data"], np.array(first["categories"]["data"]) + 1)
    assert told["sticks"][0] == [0, stick_grid(0.3)]
    assert told["sticks"][1] == [stick_grid(0.3), stick_grid(-0.5)]
    assert told["sticks"][2] == [1, 0]
    assert np.hypot(*told["sticks"][3]) <= 1
