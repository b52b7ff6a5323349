"""Counter-based randomness: every draw is a function of (seed, names, counters), so nothing has a state to save.

Nothing here touches torch's process-wide generator: sampling beside a training cannot change the training.
"""

import zlib

import numpy as np
import torch

Key = int | str


def numpy_generator(seed: int, *keys: Key) -> np.random.Generator:
    """A Philox generator of its own for (seed, *keys): the same keys give the same numbers, in any order of calls."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *map(number_of, keys)])))


def torch_generator(seed: int, *keys: Key, device: str | torch.device = "cpu") -> torch.Generator:
    """A torch generator of its own for (seed, *keys), on `device`."""
    state = np.random.SeedSequence([seed, *map(number_of, keys)]).generate_state(1, np.uint64)[0]
    return torch.Generator(device=device).manual_seed(int(state >> np.uint64(1)))


def number_of(key: Key) -> int:
    """Texts become numbers by CRC-32, offset so that they cannot meet a counter by chance of size."""
    return (1 << 32) + zlib.crc32(key.encode()) if isinstance(key, str) else key
