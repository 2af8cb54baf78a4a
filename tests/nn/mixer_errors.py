"""Run by `test_mixer`, in a process of its own: Triton decides at its import whether it interprets.

Prints, for each case and each result, how far from the plain form in float64 are the fused one and the plain one, both
in the case's precision, as shares of the largest value. On a CUDA device if there is one, else in Triton's interpreter.
"""

from __future__ import annotations

import copy
import json
import os
import sys

import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":
    os.environ["TRITON_INTERPRET"] = "1"

from worldmodel.bench.training import Training, resident  # noqa: E402
from worldmodel.models.mamba2 import Block, Config  # noqa: E402
from worldmodel.nn import mixer  # noqa: E402
from worldmodel.training.config import find_experiment, load_experiment  # noqa: E402

SMALL = {"d_model": 16, "d_state": 16, "headdim": 16}
CASES: dict[str, tuple[int, int, int, torch.dtype, dict[str, int]]] = {
    # windows, rows, first row asked for, precision of the projection, sizes
    "a window of ten": (3, 10, 0, torch.float32, SMALL),
    "its last row": (3, 10, 9, torch.float32, SMALL),
    "half of its rows": (2, 10, 5, torch.float32, SMALL),
    "one row": (2, 1, 0, torch.float32, SMALL),
    "a full tile": (2, 16, 0, torch.float32, SMALL),
    "wider than high": (2, 7, 0, torch.float32, {"d_model": 32, "d_state": 32, "headdim": 16, "conv": 3}),
    "higher than wide": (2, 7, 3, torch.float32, {"d_model": 32, "d_state": 16, "headdim": 32, "conv": 1}),
    "half precision": (3, 10, 0, torch.bfloat16, SMALL),
    "half precision, last row": (3, 10, 9, torch.bfloat16, SMALL),
    "several windows a program": (5, 10, 0, torch.float32, SMALL),
}


def errors(name: str) -> dict[str, tuple[float, float]]:
    num_windows, num_rows, first_row, dtype, sizes = CASES[name]
    torch.manual_seed(0)
    exact = Block(Config(**sizes)).double()
    for parameter in exact.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    # All begin with what half precision can say, so that the differences are those of the arithmetic.
    rows = torch.randn(num_windows, num_rows, sizes["d_model"]).to(dtype).double()
    results = []
    for form in ("exact", "fused", "plain"):
        block, shown = copy.deepcopy(exact), rows.clone()
        if form != "exact":
            block, shown = block.float().to(DEVICE), shown.float().to(DEVICE)
        block.fused = form == "fused"
        shown.requires_grad_()
        is_half = form != "exact" and dtype == torch.bfloat16
        with torch.autocast(DEVICE if form != "exact" else "cpu", dtype=torch.bfloat16, enabled=is_half):
            y = block(shown, first_row=first_row)[0]
        y.backward(torch.sin(torch.arange(y.numel())).reshape(y.shape).to(y))
        gradients = {f"d_{which}": parameter.grad for which, parameter in block.named_parameters()}
        results.append({"y": y, "d_rows": shown.grad} | gradients)
    right, *others = [{which: tensor.detach().cpu().double() for which, tensor in one.items()} for one in results]
    largest = max(tensor.abs().max().item() for tensor in right.values())
    return {
        which: tuple(
            (tensor - one[which]).abs().max().item() / max(tensor.abs().max().item(), 1e-3 * largest) for one in others
        )
        for which, tensor in right.items()
    }


def differences_of_repeats() -> int:
    """Numbers that two backward passes over the same windows do not share to the bit."""
    torch.manual_seed(0)
    block = Block(Config(**SMALL)).to(DEVICE)
    block.fused = True
    rows = torch.randn(6, 10, SMALL["d_model"], device=DEVICE)
    found = []
    for _ in range(2):
        block.zero_grad()
        block(rows)[0].square().sum().backward()
        found.append([parameter.grad.clone() for parameter in block.parameters()])
    return sum(int((a != b).sum()) for a, b in zip(*found, strict=True))


def difference_of_steps() -> float:
    """Three training steps with `training.kernels: triton` and without: the largest difference of the weights."""
    block, weights = resident(20_000, torch.device(DEVICE)), []
    for kernels in ("torch", "triton"):
        experiment = load_experiment(
            find_experiment("mamba2-medium-gpu"),
            overrides=[
                "model={arch: mamba2, heads: card, d_model: 16, d_state: 16, headdim: 16, n_layers: 2}",
                f"training={{batch_size: 4, lr: 1e-3, kernels: {kernels}}}",
                "scheduled_sampling=null",
            ],
        )
        training = Training(experiment, block, torch.device(DEVICE))
        torch.manual_seed(1)
        training.run(3)
        weights.append(torch.cat([parameter.detach().flatten() for parameter in training.state.model.parameters()]))
        blocks = [part for part in training.state.model.modules() if isinstance(part, Block)]
        assert [part.fused for part in blocks] == [kernels == "triton"] * 2
    assert not torch.equal(*weights)
    return (weights[0] - weights[1]).abs().max().item()


def difference_of_compiled() -> float:
    """The fused block in one compiled graph and eager: the largest difference of results and gradients."""
    torch.manual_seed(0)
    block = Block(Config(**SMALL)).to(DEVICE)
    block.fused = True
    rows = torch.randn(3, 10, SMALL["d_model"], device=DEVICE)
    found = []
    for run in (block, torch.compile(block, dynamic=False, fullgraph=True)):
        block.zero_grad()
        y = run(rows, first_row=9)[0]
        y.square().sum().backward()
        found.append(torch.cat([y.detach().flatten(), *(one.grad.flatten() for one in block.parameters())]))
    return (found[0] - found[1]).abs().max().item()


def main() -> None:
    if "--compiled" in sys.argv:
        print(json.dumps({"compiled": difference_of_compiled()}))
        return
    told: dict[str, object] = {}
    for name in CASES:
        mixer.MAX_PROGRAMS = 2 if name.startswith("several") else 1024
        told[name] = errors(name)
    told["repeats"], told["steps"] = differences_of_repeats(), difference_of_steps()
    block = Block(Config(**SMALL)).to(DEVICE)
    weights = [block.conv_weight, block.conv_bias, block.dt_bias, block.A_log, block.D]
    projected = torch.randn(2, 4, sum(block.sizes), device=DEVICE, requires_grad=True)
    torch.library.opcheck(torch.ops.worldmodel.mix.default, (projected, None, *weights, SMALL["d_state"]))
    print(json.dumps(told))


if __name__ == "__main__":
    main()
