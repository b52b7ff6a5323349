"""Moving MNIST at full size, from torchvision: its 60,000 training digits in motion, and the standard 10,000 test clips.

Both are downloaded once, below VIDAPP_DATA, by torchvision (which checks their MD5 sums).
"""

import contextlib
import http.client
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from torchvision.datasets import MNIST
from torchvision.datasets.utils import download_url

from ..config import DataConfig
from ..files import sync_folder
from .cache import data_folder
from .decoders import STANDARD_TEST_SHAPE, ClipError, npy_layout
from .moving_mnist import MovingMnist

TEST_URL = "http://www.cs.toronto.edu/~nitish/unsupervised_video/mnist_test_seq.npy"
TEST_MD5 = "be083ec986bfe91a449d63653c411eb2"
TEST_FRAMES, _, TEST_SIZE = STANDARD_TEST_SHAPE[:3]
TEST_DIGITS = 2


class FullMnistSource:
    """Clips of moving digits: train and validation from MNIST's training digits (no digit in both), test the standard clips.

    Raises ValueError where the config does not fit the test clips (64 pixels, two digits), or where the files are not
    there and cannot be downloaded.
    """

    name = "moving-mnist-full"

    def __init__(self, config: DataConfig) -> None:
        if config.size != TEST_SIZE or config.digits != TEST_DIGITS:
            raise ValueError(
                f"data.source moving-mnist-full has test clips of {TEST_SIZE} pixels and {TEST_DIGITS} digits, but data.size is {config.size} "
                f"and data.digits is {config.digits}: set them to those, or use data.source=moving-mnist"
            )
        self.config = config
        self.moving = MovingMnist(config, split_digits(*training_digits()))
        self.test_path = standard_clips_path()

    def training_clip(self, seed: int, step: int, sample: int, frames: int) -> np.ndarray:
        """Clip uint8 (T, C, H, W) of training digits, a function of (seed, step, sample)."""
        return self.moving.training_clip(seed, step, sample, frames)

    def fixed_clips(self, split: str, count: int, frames: int, first: int = 0) -> np.ndarray:
        """`count` clips uint8 (N, T, C, H, W) of a split from number `first` on; test has 10,000 of 20 frames, in their published order."""
        if split != "test":
            return self.moving.fixed_clips(split, count, frames, first)
        if frames > TEST_FRAMES:
            raise ValueError(f"the standard test clips have {TEST_FRAMES} frames, not {frames}: use fewer, or data.source=moving-mnist")
        clips_TNHW = np.load(self.test_path, mmap_mode="r", allow_pickle=False)
        clips_NTHW = np.ascontiguousarray(clips_TNHW[:frames, first : first + count].swapaxes(0, 1))
        return np.repeat(clips_NTHW[:, :, None], self.config.channels, axis=2)

    def numbered_clip(self, split: str, number: int, frames: int) -> np.ndarray:
        """At most so many frames (T, C, H, W) of the clip of that number; ValueError where there is none."""
        if split != "test":
            return self.moving.numbered_clip(split, number, frames)
        clips = self.fixed_clips(split, 1, min(frames, TEST_FRAMES), first=number)
        if not len(clips):
            raise ValueError(f"there is no test clip {number}: {self.name} has 10,000, counted from 0")
        return clips[0]

    def fixed_recordings(self, split: str, count: int, frames: int) -> np.ndarray:
        """Of the `count` clips that `fixed_clips` gave, int (count,): each is a recording of its own."""
        return self.moving.fixed_recordings(split, count, frames)


def split_digits(images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Nine tenths of each class for training, one for validation; `images` uint8 (n, 28, 28)."""
    train, validation = [], []
    for label in np.unique(labels):
        of_class = images[labels == label]
        held_out = max(1, len(of_class) // 10)
        train.append(of_class[:-held_out])
        validation.append(of_class[-held_out:])
    return {"train": np.concatenate(train), "validation": np.concatenate(validation)}


def training_digits() -> tuple[np.ndarray, np.ndarray]:
    """MNIST's training images uint8 (60000, 28, 28) and labels, downloaded on first use."""
    folder = data_folder() / "torchvision" / "mnist"
    if not folder.is_dir():
        with downloaded("MNIST's 60,000 digits (12 MB)", folder) as temporary:
            MNIST(temporary, train=True, download=True)
    try:
        dataset = MNIST(folder, train=True)
    except (RuntimeError, ValueError, OSError, AssertionError) as error:
        raise ValueError(f"the MNIST files in {folder} are damaged: delete that folder and start again") from error
    return dataset.data.numpy(), dataset.targets.numpy()


def standard_clips_path() -> Path:
    """Path of mnist_test_seq.npy, uint8 (20, 10000, 64, 64), downloaded on first use."""
    folder = data_folder() / "torchvision" / "moving-mnist"
    path = folder / "mnist_test_seq.npy"
    if not folder.is_dir():
        with downloaded("the standard Moving MNIST test clips (819 MB)", folder) as temporary:
            download_url(TEST_URL, str(temporary), path.name, TEST_MD5)
    try:
        whole = npy_layout(path).time_first
    except ClipError:
        whole = False
    if not whole:
        raise ValueError(f"{path.name} in {folder} is damaged: delete that folder and start again")
    return path


@contextlib.contextmanager
def downloaded(what: str, folder: Path) -> Iterator[Path]:
    """Yields a temporary folder to download into; it becomes `folder` only when whole, so a broken download leaves nothing."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".tmp-", dir=folder.parent))
    try:
        yield temporary
        try:
            os.rename(temporary, folder)
        except OSError:
            if not folder.is_dir():  # else somebody else was faster
                raise
        sync_folder(folder.parent)
    except (OSError, RuntimeError, EOFError, zlib.error, http.client.HTTPException) as error:
        raise ValueError(
            f"{what} could not be downloaded ({type(error).__name__}): check the network, or use data.source=moving-mnist, which needs none"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
