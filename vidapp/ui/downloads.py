"""A generation as files to take away: GIF and MP4 to look at, .npy with the generated frames alone, or their ids.

They are written to the system's temporary folder under names of ours; Gradio copies what it hands out into its own cache,
which it clears by age (a file that lies there already would be neither copied nor cleared).
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from .generation import Clip

SMALLEST_SIDE = 256  # pixels: frames of 64 are shown enlarged, with hard edges
BORDER = 4
GIVEN, TRUTH, PREDICTED = (148, 163, 184), (16, 185, 129), (129, 140, 248)
NAMES = {"gif": "vidapp.gif", "mp4": "vidapp.mp4", "npy": "vidapp-generated.npy"}


def framed(frames_u8: np.ndarray, given: int, colour: tuple[int, int, int], scale: int) -> np.ndarray:
    """Frames (T, C, H, W) enlarged, in colour, with the player's border: grey while given, then `colour`. -> (T, 3, H', W')."""
    frames = np.repeat(np.repeat(frames_u8, scale, axis=2), scale, axis=3)
    if frames.shape[1] == 1:
        frames = np.repeat(frames, 3, axis=1)
    framed_frames = np.empty((len(frames), 3, frames.shape[2] + 2 * BORDER, frames.shape[3] + 2 * BORDER), np.uint8)
    for index, frame in enumerate(framed_frames):
        frame[:] = np.array(GIVEN if index < given else colour, np.uint8)[:, None, None]
    framed_frames[:, :, BORDER:-BORDER, BORDER:-BORDER] = frames
    return framed_frames


def side_by_side(clip: Clip, prediction_u8: np.ndarray) -> np.ndarray:
    """What the player shows, uint8 (T, 3, H, W): given -> truth (where it is known to the end) beside given -> prediction."""
    given = len(clip.given_u8)
    scale = max(1, SMALLEST_SIDE // clip.given_u8.shape[2])
    parts = [framed(np.concatenate([clip.given_u8, prediction_u8]), given, PREDICTED, scale)]
    if clip.truth_u8 is not None and len(clip.truth_u8) >= len(prediction_u8):
        truth = clip.truth_u8[: len(prediction_u8)]
        parts.insert(0, framed(np.concatenate([clip.given_u8, truth]), given, TRUTH, scale))
    return np.concatenate(parts, axis=3)


@contextmanager
def download_files(clip: Clip, prediction_u8: np.ndarray, *, ids: bool = False) -> Iterator[dict[str, str]]:
    """Paths by kind (gif, mp4, npy), there until the block is left. The .npy holds `ids` where frames only draw these."""
    from ..data.token_ids import write_ids
    from ..media import write_gif, write_mp4, write_npy  # brings imageio, which the page does not wait for

    with tempfile.TemporaryDirectory(prefix="vidapp-") as folder:
        paths = {kind: Path(folder) / name for kind, name in NAMES.items()}
        shown = side_by_side(clip, prediction_u8)
        write_gif(paths["gif"], shown)
        write_mp4(paths["mp4"], shown)
        (write_ids if ids else write_npy)(paths["npy"], prediction_u8)
        yield {kind: str(path) for kind, path in paths.items()}
