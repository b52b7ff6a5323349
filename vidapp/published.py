"""What others reached on Moving MNIST, 10 frames given, 10 predicted, and where they say so."""

from dataclasses import dataclass

SOURCE = "OpenSTL, docs/en/model_zoos/video_benchmarks.md, github.com/chengtan9907/OpenSTL (arXiv 2306.11249)"
"""All rows are on the standard 10,000 test clips, deterministic models trained on the squared error itself."""


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """A row of the benchmark's table, in its own definitions (see metrics.py)."""

    name: str
    epochs: int
    mse: float
    mae: float
    ssim: float
    psnr: float


MOVING_MNIST_10_TO_10 = (
    PublishedRow(name="SimVP", epochs=200, mse=32.15, mae=89.05, ssim=0.9268, psnr=21.84),
    PublishedRow(name="ConvLSTM-S", epochs=200, mse=29.80, mae=90.64, ssim=0.9288, psnr=22.10),
    PublishedRow(name="SimVP-gSTA", epochs=200, mse=26.69, mae=77.19, ssim=0.9402, psnr=22.78),
    PublishedRow(name="TAU", epochs=200, mse=24.60, mae=71.93, ssim=0.9454, psnr=23.19),
    PublishedRow(name="PredRNN++", epochs=200, mse=22.06, mae=69.58, ssim=0.9509, psnr=23.65),
    PublishedRow(name="SimVP-gSTA", epochs=2000, mse=15.05, mae=49.80, ssim=0.9675, psnr=25.97),
    PublishedRow(name="PredRNN++", epochs=2000, mse=14.07, mae=48.91, ssim=0.9698, psnr=26.37),
)
