"""A training step as the field writes it, to measure ours against on the same machine and in the same run.

A stand-in for the system of the mission's card (its sizes: d_model 384, 4 layers, d_state 64, 10 frames), after the
description in its report, not its code: a per-chunk scan by `einsum` with the states between chunks although there is
one chunk, grouped `Conv1d`, one linear layer per head, a loss and an `.item()` for each, foreach AdamW, float32.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FRAME = 196
"""Width of its encoded frame: floats and embedded ids of both players."""
PADS = 26
HEADS = (("mse", 8), ("mse", 10), ("mse", 8), ("bce", 6), *(("ce", n) for n in (400, 400, 8, 8, 3, 3, 3, 3, 32, 32)))
"""(loss, outputs): ten groups and ids of both players."""


def chunked_scan(x: Tensor, dt: Tensor, A: Tensor, b: Tensor, c: Tensor, chunk: int) -> Tensor:
    """x (B,T,H,P), dt (B,T,H), A (H), b and c (B,T,N) -> (B,T,H,P), T a multiple of the chunk."""
    num_b, num_t, num_h, num_p = x.shape
    k = num_t // chunk
    xd = (x * dt[..., None]).view(num_b, k, chunk, num_h, num_p)
    b, c = b.view(num_b, k, chunk, -1), c.view(num_b, k, chunk, -1)
    a = (dt * A).view(num_b, k, chunk, num_h).permute(0, 3, 1, 2).cumsum(-1)
    mask = torch.ones(chunk, chunk, dtype=torch.bool).tril()
    decay = (a[..., :, None] - a[..., None, :]).masked_fill(~mask, float("-inf")).exp()
    inside = torch.einsum("bkln,bksn,bhkls,bkshp->bklhp", c, b, decay, xd)
    states = torch.einsum("bkln,bhkl,bklhp->bkhpn", b, (a[..., -1:] - a).exp(), xd)
    states = torch.cat([torch.zeros_like(states[:, :1]), states], 1)
    total = F.pad(a[..., -1], (1, 0)).cumsum(-1)
    mask = torch.ones(k + 1, k + 1, dtype=torch.bool).tril()
    between = (total[..., :, None] - total[..., None, :]).masked_fill(~mask, float("-inf")).exp()
    before = torch.einsum("bhzk,bkhpn->bzhpn", between, states)[:, :-1]
    outside = torch.einsum("bkln,bkhpn,bhkl->bklhp", c, before, a.exp())
    return (inside + outside).reshape(num_b, num_t, num_h, num_p)


class Block(nn.Module):
    def __init__(self, d: int, n: int, head: int, chunk: int) -> None:
        super().__init__()
        self.inner, self.n, self.heads, self.chunk = 2 * d, n, 2 * d // head, chunk
        self.norm = nn.RMSNorm(d)
        self.in_proj = nn.Linear(d, 2 * self.inner + 2 * n + self.heads, bias=False)
        self.conv = nn.Conv1d(self.inner + 2 * n, self.inner + 2 * n, 4, groups=self.inner + 2 * n, padding=3)
        self.A_log, self.D, self.dt_bias = (nn.Parameter(torch.rand(self.heads)) for _ in range(3))
        self.gate_norm = nn.RMSNorm(self.inner)
        self.out_proj = nn.Linear(self.inner, d, bias=False)

    def forward(self, u: Tensor) -> Tensor:
        z, mixed, dt = self.in_proj(self.norm(u)).split([self.inner, self.inner + 2 * self.n, self.heads], -1)
        mixed = F.silu(self.conv(mixed.transpose(1, 2))[..., : u.shape[1]].transpose(1, 2))
        x, b, c = mixed.split([self.inner, self.n, self.n], -1)
        x = x.reshape(*x.shape[:2], self.heads, -1)
        y = chunked_scan(x, F.softplus(dt + self.dt_bias), -self.A_log.exp(), b, c, self.chunk)
        y = (y + x * self.D[:, None]).flatten(2)
        return u + self.out_proj(self.gate_norm(y * F.silu(z)))


class StandIn(nn.Module):
    """Frames (B,K,FRAME) and the next frame's pads (B,PADS) to every head's outputs, from the last position."""

    def __init__(self, d: int = 384, layers: int = 4, n: int = 64, head: int = 64, chunk: int = 10) -> None:
        super().__init__()
        self.embed = nn.Linear(FRAME, d)
        self.blocks = nn.ModuleList(Block(d, n, head, chunk) for _ in range(layers))
        self.norm = nn.RMSNorm(d)
        self.heads = nn.ModuleList(nn.Linear(d + PADS, size) for _, size in HEADS)

    def forward(self, frames: Tensor, pads: Tensor) -> list[Tensor]:
        h = self.embed(frames)
        for block in self.blocks:
            h = block(h)
        h = torch.cat([self.norm(h[:, -1]), pads], -1)
        return [head(h) for head in self.heads]


class StandInStep:
    """One update on random data of the right shapes; the data's cost is left out, in the stand-in's favour."""

    def __init__(self, batch: int, context: int = 10) -> None:
        self.model = StandIn()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=5e-4, foreach=True)
        self.frames, self.pads = torch.randn(batch, context, FRAME), torch.randn(batch, PADS)
        self.targets = [
            torch.randint(size, (batch,)) if kind == "ce" else torch.rand(batch, size) for kind, size in HEADS
        ]

    def __call__(self) -> None:
        self.optimizer.zero_grad()
        total, told = torch.zeros(()), []
        for (kind, _), out, target in zip(HEADS, self.model(self.frames, self.pads), self.targets, strict=True):
            if kind == "ce":
                loss = F.cross_entropy(out, target)
            else:
                loss = F.mse_loss(out, target) if kind == "mse" else F.binary_cross_entropy_with_logits(out, target)
            total = total + loss
            told.append(loss.item())
        total.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
