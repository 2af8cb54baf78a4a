"""Windows cut on the device are the rows of the block, and `aligned` pairs them."""

from __future__ import annotations

import numpy as np
import torch

from worldmodel.dataset.blocks import Block
from worldmodel.dataset.rows import ROW
from worldmodel.nn.frames import DeviceBlock, aligned, over_rows
from worldmodel.schema import LAYOUT

N, C, NF, A = len(LAYOUT.numbers), len(LAYOUT.categories), len(LAYOUT.flag_bits), len(LAYOUT.pad_numbers)
NB = len(LAYOUT.pad_buttons.codec.masks)


def block_of(lengths: tuple[int, ...]) -> tuple[Block, np.ndarray, np.ndarray]:
    """A block of random bits, with its flags (F,2,NF) and buttons (F,2,NB) unpacked by hand."""
    rng = np.random.default_rng(0)
    total, num_games = sum(lengths), len(lengths)
    flags, buttons = rng.random((total, 2, NF)) < 0.5, rng.random((total, 2, NB)) < 0.5
    block = Block.zeros(np.arange(num_games) + 7, np.array(lengths))
    block.numbers[:] = rng.normal(size=(total, 2, N))
    block.categories[:] = rng.integers(0, 3, (total, 2, C))
    block.flags[:] = np.packbits(flags, axis=-1, bitorder="little")
    block.pad_numbers[:] = rng.normal(size=(total, 2, A))
    block.buttons[:] = np.packbits(buttons, axis=-1, bitorder="little")[..., 0]
    block.stage[:] = rng.integers(0, 33, num_games)
    for present in (block.present_numbers, block.present_categories, block.present_flags):
        present[:] = rng.random(present.shape) < 0.5
    return block, flags, buttons


def test_gather_is_the_block_sample_by_sample() -> None:
    block, flags, buttons = block_of((30, 5, 44))
    starts = np.array([[0, 0], [2, 39], [1, 0], [2, 0], [0, 25], [2, 39]])
    states, pads, context = DeviceBlock.from_block(block).gather(torch.from_numpy(starts), 5)
    assert states.categories.dtype == torch.int64
    assert states.flags.dtype == pads.buttons.dtype == torch.bool
    for b, (game, row) in enumerate(starts):
        rows = slice(block.offsets[game] + row, block.offsets[game] + row + 5)
        np.testing.assert_array_equal(states.numbers[b], block.numbers[rows])
        np.testing.assert_array_equal(states.categories[b], block.categories[rows])
        np.testing.assert_array_equal(states.flags[b], flags[rows])
        np.testing.assert_array_equal(pads.numbers[b], block.pad_numbers[rows])
        np.testing.assert_array_equal(pads.buttons[b], buttons[rows])
        assert context.stage[b] == block.stage[game]
        np.testing.assert_array_equal(context.present_numbers[b], block.present_numbers[game])
        np.testing.assert_array_equal(context.present_categories[b], block.present_categories[game])
        np.testing.assert_array_equal(context.present_flags[b], block.present_flags[game])


def assert_rows(block: Block, flags: np.ndarray, buttons: np.ndarray, starts: list[tuple[int, int]], num: int) -> None:
    states, pads, _ = DeviceBlock.from_block(block).gather(torch.tensor(starts), num)
    for b, (game, row) in enumerate(starts):
        rows = slice(block.offsets[game] + row, block.offsets[game] + row + num)
        np.testing.assert_array_equal(states.numbers[b], block.numbers[rows])
        np.testing.assert_array_equal(states.categories[b], block.categories[rows])
        np.testing.assert_array_equal(states.flags[b], flags[rows])
        np.testing.assert_array_equal(pads.buttons[b], buttons[rows])


def test_windows_at_the_very_end_of_a_block_and_of_all_of_it() -> None:
    block, flags, buttons = block_of((30, 44))
    assert_rows(block, flags, buttons, [(1, 33), (1, 32), (0, 19)], 11)
    assert_rows(block, flags, buttons, [(1, 43)], 1)
    block, flags, buttons = block_of((17,))
    assert_rows(block, flags, buttons, [(0, 0)], 17)


def test_a_block_shorter_than_a_window_has_none() -> None:
    block, _, _ = block_of((3,))
    states, pads, context = DeviceBlock.from_block(block).gather(torch.zeros(0, 2, dtype=torch.int64), 5)
    assert states.numbers.shape == (0, 5, 2, N)
    assert pads.buttons.shape == (0, 5, 2, NB)
    assert len(context.stage) == 0


def test_a_row_is_what_the_layout_needs_in_whole_words() -> None:
    bits = -(-NF // 8) + 1
    needed = 2 * (4 * N + 4 * A + 2 * C + bits)
    assert ROW.num_bytes == -(-needed // 8) * 8
    block, _, _ = block_of((6,))
    assert DeviceBlock.from_block(block).words.data_ptr() == block.rows.ctypes.data


def test_every_bit_pattern_survives() -> None:
    """NaNs with a payload, infinities, -0.0: a row is bytes."""
    block, _, _ = block_of((9,))
    block.rows[:] = np.random.default_rng(1).integers(0, 256, block.rows.shape)
    states, pads, _ = DeviceBlock.from_block(block).gather(torch.tensor([[0, 1]]), 8)
    for found, wanted in ((states.numbers, block.numbers), (pads.numbers, block.pad_numbers)):
        bits = found[0].contiguous().view(torch.int32).numpy()
        np.testing.assert_array_equal(bits, np.ascontiguousarray(wanted[1:]).view(np.int32))


def test_aligned_pairs_the_pads_of_a_frame_with_the_state_after_it() -> None:
    block, _, _ = block_of((12,))
    # A game in which every value of row t is t.
    block.numbers[:] = np.arange(12)[:, None, None]
    block.pad_numbers[:] = np.arange(12)[:, None, None]
    previous, now, target = aligned(*DeviceBlock.from_block(block).gather(torch.tensor([[0, 2]]), 6)[:2])
    assert previous.numbers[0, :, 0, 0].tolist() == [2, 3, 4, 5, 6]
    assert now.numbers[0, :, 0, 0].tolist() == [3, 4, 5, 6, 7]
    assert target.numbers[0, :, 0, 0].tolist() == [3, 4, 5, 6, 7]


def test_over_rows_broadcasts_from_the_batch() -> None:
    mask = torch.arange(6).view(3, 2)
    assert over_rows(mask, torch.zeros(3, 5, 2)).shape == (3, 1, 2)
    assert over_rows(mask.unsqueeze(1), torch.zeros(3, 5, 4, 2)).shape == (3, 1, 1, 2)
    assert over_rows(mask, torch.zeros(3, 2)).shape == (3, 2)
