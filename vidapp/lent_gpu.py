"""ZeroGPU Spaces: a GPU is lent for the length of a call, which runs in a process that is forked for it.

Whatever such a call changes is lost, and what it is given and yields is sent between the two processes. Outside of it the Space has
no GPU, though torch says that there is one.
"""

import os
from collections.abc import Callable
from typing import Any


def gpu_is_lent() -> bool:
    """Whether this is such a Space."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true", "on", "yes")


def lent(generator: Callable[..., Any]) -> Callable[..., Any]:
    """`generator`, a function at the top of its module, run where a GPU is lent; as it is where none is. To be called before the page
    is served: a Space of that kind does not start without one."""
    if not gpu_is_lent():
        return generator
    import spaces

    made: Callable[..., Any] = spaces.GPU(generator)
    return made
