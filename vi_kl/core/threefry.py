"""The keys that JAX's default generator makes of a key, computed by NumPy: nothing is traced or compiled.

Threefry-2x32 encrypts a counter of 64 bits by a key of 64 bits, in twenty rounds of additions, rotations and exclusive
ors. The children of a key are the numbers 0, 1, 2, ... encrypted by it.

Reference: Salmon, Moraes, Dror & Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3".
"""

import numpy as np
from jaxtyping import UInt32

ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)
PARITY = np.uint32(0x1BD11BDA)
ROUNDS = 5  # of four rotations each


def children(key: UInt32[np.ndarray, " 2"], numbers: UInt32[np.ndarray, " n"]) -> UInt32[np.ndarray, "n 2"]:
    """Return the keys that `jax.random.fold_in` makes of a key and numbers; those of `split` are its 0, 1, 2, ..."""
    first, second = key[:1], key[1:]
    schedule = first, second, first ^ second ^ PARITY
    high, low = np.zeros_like(numbers) + first, numbers + second
    for round_ in range(ROUNDS):
        for rotation in ROTATIONS[round_ % 2]:
            high = high + low
            low = high ^ (low << rotation | low >> (32 - rotation))
        high = high + schedule[(round_ + 1) % 3]
        low = low + schedule[(round_ + 2) % 3] + np.uint32(round_ + 1)
    return np.stack([high, low], axis=-1)
