"""Augmentation: small changes that leave a clip's motion true, the same for every frame of a clip."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from ..config import RecipeConfig
from ..randomness import numpy_generator


@dataclass(frozen=True)
class Augmentation:
    """What is done to one clip. `angle` in degrees, counter-clockwise; the factors multiply, 1 changes nothing."""

    flip: bool = False
    angle: float = 0.0
    brightness: float = 1.0
    contrast: float = 1.0


def augments(recipe: RecipeConfig) -> bool:
    """Whether the recipe asks for any augmentation."""
    return any((recipe.horizontal_flip, recipe.rotation, recipe.brightness, recipe.contrast))


def draw_augmentation(recipe: RecipeConfig, seed: int, step: int, sample: int) -> Augmentation:
    """The augmentation of one training clip, a function of (seed, step, sample).

    All four numbers are always drawn, so that turning one kind on leaves the others as they were.
    """
    flip, angle, brightness, contrast = numpy_generator(seed, "augment", step, sample).random(4)
    return Augmentation(
        flip=bool(flip < recipe.horizontal_flip),
        angle=recipe.rotation * float(2 * angle - 1),
        brightness=1 + recipe.brightness * float(2 * brightness - 1),
        contrast=1 + recipe.contrast * float(2 * contrast - 1),
    )


def augment(frames_BTCHW: Tensor, recipe: RecipeConfig, seed: int, step: int, samples: Sequence[int]) -> Tensor:
    """Clips (B, T, C, H, W), float in [0, 1] or uint8, each changed by what (seed, step, its number in `samples`) draws.

    The clips themselves come back where the recipe asks for nothing. The input is never written to.
    """
    if len(samples) != len(frames_BTCHW):
        raise ValueError(f"{len(frames_BTCHW)} clips but {len(samples)} sample numbers: give one for each")
    if not augments(recipe):
        return frames_BTCHW
    changes = [draw_augmentation(recipe, seed, step, sample) for sample in samples]
    return torch.stack([apply(clip, change) for clip, change in zip(frames_BTCHW, changes, strict=True)])


def apply(frames_TCHW: Tensor, change: Augmentation) -> Tensor:
    """One clip changed; corners that a rotation uncovers are black."""
    if change.flip:
        frames_TCHW = transforms.horizontal_flip(frames_TCHW)
    if change.angle:
        frames_TCHW = transforms.rotate(frames_TCHW, change.angle, interpolation=InterpolationMode.BILINEAR)
    if change.brightness != 1:
        frames_TCHW = transforms.adjust_brightness(frames_TCHW, change.brightness)
    if change.contrast != 1:
        frames_TCHW = adjust_contrast(frames_TCHW, change.contrast)
    return frames_TCHW


def adjust_contrast(frames_TCHW: Tensor, factor: float) -> Tensor:
    """Contrast about the mean of the whole clip: about each frame's own, still things would flicker."""
    T, C, H, W = frames_TCHW.shape
    tall_CHW = frames_TCHW.transpose(0, 1).reshape(C, T * H, W)
    return transforms.adjust_contrast(tall_CHW, factor).reshape(C, T, H, W).transpose(0, 1)
