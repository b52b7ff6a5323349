"""What went wrong, as one sentence for a person."""

import os

STRANGERS = "VIDAPP_STRANGERS"
"""Environment of a page that is open to everybody, and of processes that any page starts: strangers may see what they say."""


def told_to_strangers() -> bool:
    """Whether strangers may see what this process says: it names no folder of the machine then."""
    return bool(os.environ.get(STRANGERS))


class NotEnoughMemoryError(MemoryError):
    """Memory ran out, and its text is the sentence for a person. Holds on to nothing of what did not fit."""


class TookTooLongError(ValueError):
    """A request was ended because it has had its time, or because nobody waits for it any more: nothing is wrong with what it was at."""


class SharedError(ValueError):
    """What went wrong on another rank, which says it to the person: no rank but the first need repeat it."""


class BrokenOffError(Exception):
    """A training that had begun came to no good end; says why in one sentence."""


class RankLostError(RuntimeError):
    """Another rank of this training has ended or does not answer; its text is the sentence for a person."""


def describe_failure(error: BaseException) -> str:
    """A ValueError's own text, what to do about missing memory, a system error in words, else type and text."""
    text = str(error).strip()
    if isinstance(error, (NotEnoughMemoryError, BrokenOffError, RankLostError)):
        return text
    if out_of_memory(error):
        where = "on the GPU" if "CUDA" in text or type(error).__module__.startswith("torch") else "on this machine"
        return f"out of memory {where}: lower recipe.batch_size, or raise recipe.micro_batches or set recipe.gradient_checkpointing=true"
    if isinstance(error, ValueError) and text:
        return text
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}" + (f": {error.filename}" if error.filename else "")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's own error, torch's, or the RuntimeError of torch's CPU allocator."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)


def is_known(error: BaseException) -> bool:
    """Whether a person, the disk or the memory is to blame, and no bug."""
    return isinstance(error, (ValueError, OSError)) or out_of_memory(error)


def write_failure(error: BaseException) -> bool:
    """Whether the disk is to blame (full, unwritable, gone) and no bug: OSError, or safetensors' own error for it."""
    return isinstance(error, OSError) or (type(error).__name__ == "SafetensorError" and "I/O" in str(error))


def reason(error: BaseException) -> str:
    """What the system says of a write failure, e.g. `No space left on device`."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
