"""Mamba-2: blocks of causal convolution and state-space scan, with a state of constant size.

Owns: the block in its parallel and its one-frame form, side by side. Must not: know a field.
Source: Dao and Gu 2024, "Transformers are SSMs", section 7 and its reference initialisation; sizes are the run card's.

Letters: B sequences, T rows, D model width, I inner width, N state width, H heads, P head width, W convolution width.
"""

from __future__ import annotations

from math import log
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import PositiveInt, model_validator
from torch import Tensor, nn

from worldmodel.errors import WrongUse
from worldmodel.models.base import ModelState, Trunk, TrunkConfig, TrunkModel
from worldmodel.nn import ssd
from worldmodel.nn.conv import causal_conv

DT_RANGE = (1e-3, 1e-1)
"""Step sizes that an untrained block begins with, log-uniform."""
DT_FLOOR = 1e-4
A_RANGE = (1.0, 16.0)
"""Decay rates that an untrained block begins with, uniform."""


class Config(TrunkConfig):
    """The run card's sizes by default.

    chunk_size: rows per chunk of the parallel scan. It changes speed, never results, and any length goes with it.
    """

    arch: Literal["mamba2"] = "mamba2"
    d_model: PositiveInt = 384
    n_layers: PositiveInt = 4
    d_state: PositiveInt = 64
    headdim: PositiveInt = 64
    expand: PositiveInt = 2
    conv: PositiveInt = 4
    chunk_size: PositiveInt = 64

    @model_validator(mode="after")
    def _heads_fill_the_width(self) -> Config:
        if (self.expand * self.d_model) % self.headdim:
            raise ValueError(
                f"expand * d_model = {self.expand * self.d_model} is not a multiple of headdim {self.headdim}"
            )
        return self


BlockState = tuple[Tensor, Tensor]
"""The last W-1 inputs of the convolution (B,W-1,I+2N), and the scan's state (B,H,P,N)."""


class Block(nn.Module):
    """One Mamba-2 mixer, without the residual around it."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.inner = config.expand * config.d_model
        self.d_state, self.headdim, self.width = config.d_state, config.headdim, config.conv
        self.chunk = config.chunk_size
        num_heads = self.inner // config.headdim
        mixed = self.inner + 2 * config.d_state
        self.sizes = [self.inner, mixed, num_heads]
        self.in_proj = nn.Linear(config.d_model, sum(self.sizes), bias=False)
        self.conv_weight = nn.Parameter(torch.empty(config.conv, mixed).uniform_(-1, 1) * config.conv**-0.5)
        self.conv_bias = nn.Parameter(torch.empty(mixed).uniform_(-1, 1) * config.conv**-0.5)
        dt = torch.empty(num_heads).uniform_(log(DT_RANGE[0]), log(DT_RANGE[1])).exp().clamp(min=DT_FLOOR)
        self.dt_bias = nn.Parameter(dt + torch.log(-torch.expm1(-dt)))  # softplus(dt_bias) = dt
        self.A_log = nn.Parameter(torch.empty(num_heads).uniform_(*A_RANGE).log())
        self.D = nn.Parameter(torch.ones(num_heads))
        self.norm = nn.RMSNorm(self.inner, eps=1e-5)
        self.out_proj = nn.Linear(self.inner, config.d_model, bias=False)
        self.fused = False
        """Whether windows without a history go through our kernel (`nn.mixer`), which fits short ones only."""

    def forward(
        self, u: Tensor, state: BlockState | None = None, *, last_state: bool = False, first_row: int = 0
    ) -> tuple[Tensor, BlockState | None]:
        """Parallel: (B,T,D) -> (B,T,D), and the state after the last row if asked for.

        first_row: only the rows from there on are made; what the rows before are not needed for is not computed.
        """
        if first_row:
            gate_weight, weight = torch.split(self.in_proj.weight, [self.sizes[0], sum(self.sizes[1:])])
            z, projected = F.linear(u[:, first_row:], gate_weight), F.linear(u, weight)
        else:
            z, projected = None, self.in_proj(u)
        if self.fused and state is None and not last_state:
            return self._project(self._mix(projected, z)), None
        if z is None:
            z, projected = torch.split(projected, [self.sizes[0], sum(self.sizes[1:])], dim=-1)
        mixed, dt = torch.split(projected, self.sizes[1:], dim=-1)
        past = mixed.new_zeros(mixed.shape[0], self.width - 1, mixed.shape[2]) if state is None else state[0]
        padded = torch.cat([past, mixed], 1)
        x, b, c = self._split(F.silu(causal_conv(padded, self.conv_weight, self.conv_bias)))
        y, scanned = ssd.scan(
            x,
            F.softplus(dt + self.dt_bias),
            -self.A_log.exp(),
            b,
            c,
            chunk=self.chunk,
            state=None if state is None else state[1],
            last_state=last_state,
            first_row=first_row,
        )
        # A copy: a view would keep all rows alive as long as the state is.
        after = None if scanned is None else (padded[:, padded.shape[1] - self.width + 1 :].clone(), scanned)
        return self._finish(y, x[:, first_row:] if first_row else x, z), after

    def step(self, u: Tensor, state: BlockState) -> tuple[Tensor, BlockState]:
        """One frame: (B,D) -> (B,D), and a new state."""
        z, mixed, dt = torch.split(self.in_proj(u), self.sizes, dim=-1)
        padded = torch.cat([state[0], mixed[:, None]], 1)
        x, b, c = self._split(F.silu((padded * self.conv_weight).sum(1) + self.conv_bias))
        y, scanned = ssd.step(x, F.softplus(dt + self.dt_bias), -self.A_log.exp(), b, c, state[1])
        return self._finish(y, x, z), (padded[:, 1:], scanned)

    def init_state(self, batch: int, device: torch.device, dtype: torch.dtype) -> BlockState:
        return (
            torch.zeros(batch, self.width - 1, self.sizes[1], device=device, dtype=dtype),
            torch.zeros(batch, self.sizes[2], self.headdim, self.d_state, device=device, dtype=dtype),
        )

    def _split(self, mixed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, b, c = torch.split(mixed, [self.inner, self.d_state, self.d_state], dim=-1)
        return torch.unflatten(x, -1, (-1, self.headdim)), b, c

    def _finish(self, y: Tensor, x: Tensor, z: Tensor) -> Tensor:
        return self._project((y + x * self.D[:, None]).flatten(-2) * F.silu(z))

    def _mix(self, projected: Tensor, z: Tensor | None) -> Tensor:
        """From the one projection to the other, as one kernel."""
        from worldmodel.nn import mixer  # Triton is there on CUDA machines only

        return mixer.mix(projected, z, self.conv_weight, self.conv_bias, self.dt_bias, self.A_log, self.D, self.d_state)

    def _project(self, gated: Tensor) -> Tensor:
        out: Tensor = self.out_proj(self.norm(gated.to(self.norm.weight.dtype)))
        return out


class Mamba2(Trunk):
    """Blocks in residual order: x + block(norm(x)), and a last norm."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.d_out = config.d_model
        self.norms = nn.ModuleList(nn.RMSNorm(config.d_model, eps=1e-5) for _ in range(config.n_layers))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.last_norm = nn.RMSNorm(config.d_model, eps=1e-5)
        for block in self.blocks:
            # Each block adds to the same stream: without this its variance grows with depth.
            block.out_proj.weight.data.mul_(config.n_layers**-0.5)  # type: ignore[union-attr,operator]

    def forward(self, tokens: Tensor, first_row: int = 0) -> Tensor:
        # The stream stays in the weights' precision under autocast; only the maps inside the blocks round.
        tokens = tokens.to(self.last_norm.weight.dtype)
        for index, (norm, block) in enumerate(zip(self.norms, self.blocks, strict=True)):
            # Nothing above the last block looks back: in window mode that is an eighth of all the work.
            first = first_row if index == len(self.blocks) - 1 else 0
            tokens = (tokens[:, first:] if first else tokens) + block(norm(tokens), first_row=first)[0]
        out: Tensor = self.last_norm(tokens)
        return out

    def scan(self, tokens: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        tokens, after = tokens.to(self.last_norm.weight.dtype), []
        for norm, block, before in zip(self.norms, self.blocks, state, strict=True):
            mixed, new = block(norm(tokens), before, last_state=True)
            tokens = tokens + mixed
            after.append(new)
        return self.last_norm(tokens), tuple(after)

    def step(self, token: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        token, after = token.to(self.last_norm.weight.dtype), []
        for norm, block, before in zip(self.norms, self.blocks, state, strict=True):
            mixed, new = block.step(norm(token), before)  # type: ignore[operator]
            token = token + mixed
            after.append(new)
        return self.last_norm(token), tuple(after)

    def init_state(self, batch: int, device: torch.device, dtype: torch.dtype) -> ModelState:
        return tuple(block.init_state(batch, device, dtype) for block in self.blocks)  # type: ignore[operator]


class Model(TrunkModel):
    def __init__(self, config: Config) -> None:
        super().__init__(config, config.d_model, Mamba2(config))

    def use_kernels(self, num_rows: int) -> None:
        from worldmodel.nn import mixer  # Triton is there on CUDA machines only

        config = self.config
        assert isinstance(config, Config)
        if not mixer.fits(num_rows, config.d_state, config.headdim):
            raise WrongUse(
                f"training.kernels: triton for {num_rows} rows, a state of {config.d_state}, heads of {config.headdim}",
                f"at most {mixer.MAX_ROWS} rows, and each width one of {', '.join(map(str, mixer.WIDTHS))}",
                "set training.kernels to torch, or show shorter windows",
            )
        for block in self.modules():
            if isinstance(block, Block):
                block.fused = True
