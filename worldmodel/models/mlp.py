"""The card's baseline: the last K tokens side by side through two layers. It has no other memory.

Owns: the stack of tokens in its parallel and its one-frame form. Must not: know a field.

Letters: B sequences, T rows, K tokens, D token width.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from worldmodel.models.base import ModelState, Trunk, TrunkConfig, TrunkModel


class Config(TrunkConfig):
    """About the size of the reference's MLP (1.3 M parameters): d_token takes the place of its wider raw frames."""

    arch: Literal["mlp"] = "mlp"
    context_len: PositiveInt = 10
    d_token: PositiveInt = 160
    hidden_dim: PositiveInt = 512
    trunk_dim: PositiveInt = 256


class Stack(Trunk):
    """The newest token last. Before the first frame there are zeros, which no token is: a token has a bias."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.d_out, self.d_token, self.length = config.trunk_dim, config.d_token, config.context_len
        self.layers = nn.Sequential(
            nn.Linear(config.context_len * config.d_token, config.hidden_dim),
            nn.ReLU(),
            nn.Linear(config.hidden_dim, config.trunk_dim),
            nn.ReLU(),
        )

    def forward(self, tokens: Tensor, first_row: int = 0) -> Tensor:
        (past,) = self.init_state(tokens.shape[0], tokens.device, tokens.dtype)
        return self._stacked(torch.cat([past, tokens], 1)[:, first_row:])

    def scan(self, tokens: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        past = torch.cat([state[0], tokens], 1)
        # A copy: a view would keep all rows alive as long as the state is.
        return self._stacked(past), (past[:, tokens.shape[1] :].clone(),)

    def _stacked(self, tokens: Tensor) -> Tensor:
        """(B,K-1+T,D) -> (B,T,`d_out`)."""
        windows_BTKD = tokens.unfold(1, self.length, 1).transpose(2, 3)
        out: Tensor = self.layers(windows_BTKD.flatten(2))
        return out

    def step(self, token: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        window_BKD = torch.cat([state[0], token[:, None]], 1)
        return self.layers(window_BKD.flatten(1)), (window_BKD[:, 1:],)

    def init_state(self, batch: int, device: torch.device, dtype: torch.dtype) -> ModelState:
        """The last K-1 tokens (B,K-1,D)."""
        return (torch.zeros(batch, self.length - 1, self.d_token, device=device, dtype=dtype),)


class Model(TrunkModel):
    def __init__(self, config: Config) -> None:
        super().__init__(config, config.d_token, Stack(config))
