"""The tokenizer: a convolutional autoencoder with a discrete bottleneck. frame -> grid of token ids -> frame.

FSQ: Mentzer et al., "Finite Scalar Quantization" (2023). VQ with EMA and dead-code restart: van den Oord et al. (2017),
Razavi et al. (2019). Both quantizers are `vector-quantize-pytorch`'s.
"""

import itertools

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from vector_quantize_pytorch import FSQ, VectorQuantize

from .config import LARGEST_FEATURES, TokenizerConfig
from .data.token_ids import COLOURS, GATHER, colours_of

PATCHES_AT_ONCE = 4096


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each place alone. A norm over the frame would let every token depend on all of it:
    blank patches would then change their ids from frame to frame, for no reason that a transformer could learn."""

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return super().forward(x_NCHW.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ResidualBlock(nn.Module):
    """x + conv(act(norm(conv(act(norm(x)))))), the second convolution starting at zero (see initialise)."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(channels)
        self.conv1 = nn.Conv2d(channels, channels, kernel, padding=kernel // 2)
        self.norm2 = ChannelNorm(channels)
        self.conv2 = nn.Conv2d(channels, channels, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))


def encoder_layers(config: TokenizerConfig, image_channels: int) -> nn.Sequential:
    """Pixels -> code space. Patches of half the token's side first: convolutions at full resolution cost too much.

    Its blocks see one place each, so a token depends on its patch and, with overlap, a margin of less than a patch: what moves changes
    few tokens, and what is still changes none. The decoder sees neighbours.
    """
    half = config.downsampling // 2
    wide = 2 * config.channels
    first, second = half, 2  # sides of the kernels
    if config.overlap:
        first, second = 2 * half if half > 1 else 3, 4
    return nn.Sequential(
        nn.Conv2d(image_channels, config.channels, kernel_size=first, stride=half, padding=(first - half) // 2),
        *(ResidualBlock(config.channels, 1) for _ in range(config.encoder_blocks)),
        nn.Conv2d(config.channels, wide, kernel_size=second, stride=2, padding=(second - 2) // 2),
        *(ResidualBlock(wide, 1) for _ in range(config.encoder_blocks)),
        nn.SiLU(),
        nn.Conv2d(wide, config.code_dim, kernel_size=1),
    )


def decoder_layers(config: TokenizerConfig, image_channels: int) -> nn.Sequential:
    """Code space -> pixels, by two pixel shuffles."""
    half = config.downsampling // 2
    wide = 2 * config.channels
    return nn.Sequential(
        nn.Conv2d(config.code_dim, wide, kernel_size=3, padding=1),
        *(ResidualBlock(wide, 3) for _ in range(config.decoder_blocks)),
        nn.Conv2d(wide, 4 * config.channels, kernel_size=1),
        nn.PixelShuffle(2),
        *(ResidualBlock(config.channels, 3) for _ in range(config.decoder_blocks)),
        nn.SiLU(),
        nn.Conv2d(config.channels, image_channels * half * half, kernel_size=3, padding=1),
        nn.PixelShuffle(half),
    )


class GivenIds(nn.Module):
    """In a quantizer's place where the data are ids: the code of an id is the colour that it is drawn in (see `data.token_ids`)."""

    colours_V3: Tensor

    def __init__(self, codebook_size: int) -> None:
        super().__init__()
        with torch.device("cpu"):
            colours = torch.from_numpy(colours_of(np.arange(codebook_size)[:, None, None])[..., 0, 0])
        self.register_buffer("colours_V3", colours.float() / 255, persistent=False)

    def ids(self, colours: Tensor) -> Tensor:
        """Int64 ids (...) of colours float (..., 3) in [0, 1]; of a colour that no id has, some id."""
        red, green, blue = (colours * 255).round().clamp(0, 255).long().unbind(-1)
        return (red + 256 * green + 65536 * blue) * GATHER % COLOURS % len(self.colours_V3)


class Tokenizer(nn.Module):
    """frames_BTCHW, float in [0, 1] <-> tokens_BTHW, int64 ids in [0, codebook_size)."""

    def __init__(self, config: TokenizerConfig, channels: int) -> None:
        super().__init__()
        self.config = config
        self.codebook_size, self.channels = config.codebook_size, channels
        given = config.quantizer == "ids"
        self.encoder: nn.Module = nn.Identity() if given else encoder_layers(config, channels)
        self.decoder: nn.Module = nn.Identity() if given else decoder_layers(config, channels)
        self.quantizer: FSQ | VectorQuantize | GivenIds = make_quantizer(config)

    def initialise(self, generator: torch.Generator) -> None:
        """Weights from `generator`: He-uniform as torch's own, residual branches zero, so that depth does no harm at the start."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=5**0.5, generator=generator)
                nn.init.zeros_(module.bias) if module.bias is not None else None
            elif isinstance(module, ChannelNorm):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, ResidualBlock):
                nn.init.zeros_(module.conv2.weight)

    def encode(self, frames_BTCHW: Tensor, *, checked: bool = False) -> Tensor:
        """Token grid int64 (B, T, h, w) of frames in [0, 1]. checked: ValueError where code vectors are not finite, which waits for a GPU."""
        batch, frames = frames_BTCHW.shape[:2]
        vectors = self.code_vectors(frames_BTCHW.flatten(0, 1))
        if checked and not bool(vectors.isfinite().all()):
            raise ValueError("the tokenizer's code vectors are not finite: its training has diverged, or its weights are damaged")
        _, tokens, _ = self.quantize(vectors)
        return tokens.unflatten(0, (batch, frames))

    def decode(self, tokens_BTHW: Tensor) -> Tensor:
        """Frames float (B, T, C, H, W) of a token grid; not clipped to [0, 1]."""
        batch, frames = tokens_BTHW.shape[:2]
        codes_NhwD = self.codes(tokens_BTHW.flatten(0, 1))
        return self.pixels(codes_NhwD).unflatten(0, (batch, frames))

    def codes(self, tokens: Tensor) -> Tensor:
        """Code vectors float (..., code_dim) of ids (...)."""
        flat = tokens.reshape(1, -1)  # the quantizers read more axes than two as an image with its channels first
        if isinstance(self.quantizer, GivenIds):
            return self.quantizer.colours_V3[tokens]
        if isinstance(self.quantizer, FSQ):
            return self.quantizer.indices_to_codes(flat).reshape(*tokens.shape, -1)
        return self.quantizer.get_codes_from_indices(flat).reshape(*tokens.shape, -1)

    def ids(self) -> Tensor:
        """All ids there are, int64 (codebook_size,)."""
        return torch.arange(self.codebook_size, device=next(itertools.chain(self.parameters(), self.buffers())).device)

    def codebook(self) -> Tensor:
        """All code vectors float (codebook_size, code_dim) in the order of their ids."""
        return self.codes(self.ids()).float()

    @torch.no_grad()
    def patches(self) -> Tensor:
        """Pixels float (codebook_size, C*p*p) in [0, 1]: what each code is drawn as where it stands alone."""
        parts = self.ids()[:, None, None, None].split(PATCHES_AT_ONCE)
        return torch.cat([self.decode(part).flatten(1) for part in parts]).float().clamp(0, 1)

    def compared_by(self) -> Tensor:
        """What the distance of two codes is measured in, float (codebook_size, K): the pixels of their patches, or, where these were too
        many, their vectors."""
        pixels = self.codebook_size * self.channels * self.config.downsampling**2
        drawn = not isinstance(self.quantizer, GivenIds) and pixels <= LARGEST_FEATURES
        return self.patches() if drawn else self.codebook()

    def forward(self, frames_BCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(reconstruction (B, C, H, W), token ids (B, h, w), the quantizer's own loss, a scalar), for training."""
        codes, tokens, loss = self.quantize(self.code_vectors(frames_BCHW))
        return self.pixels(codes), tokens, loss

    def code_vectors(self, frames_NCHW: Tensor) -> Tensor:
        """Unquantized code vectors (N, h, w, code_dim). Inputs are centred: most pixels of most data are far from 1/2."""
        if isinstance(self.quantizer, GivenIds):
            return frames_NCHW.permute(0, 2, 3, 1)
        return self.encoder((frames_NCHW - 0.5).contiguous(memory_format=torch.channels_last)).permute(0, 2, 3, 1)

    def pixels(self, codes_NhwD: Tensor) -> Tensor:
        return self.decoder(codes_NhwD.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last))

    def quantize(self, vectors_NhwD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(codes (N, h, w, D), ids int64 (N, h, w), the quantizer's loss). In float32: ids must not depend on rounding."""
        count, height, width, dim = vectors_NhwD.shape
        if isinstance(self.quantizer, GivenIds):
            ids = self.quantizer.ids(vectors_NhwD)
            return self.codes(ids), ids, vectors_NhwD.new_zeros(())
        with torch.autocast(vectors_NhwD.device.type, enabled=False):
            flat = vectors_NhwD.float().reshape(count, height * width, dim)
            codes, ids, *rest = self.quantizer(flat)
        loss = rest[0].sum() if rest else flat.new_zeros(())
        return codes.reshape(count, height, width, dim), ids.long().reshape(count, height, width), loss


def new_tokenizer(config: TokenizerConfig, channels: int, generator: torch.Generator | None = None) -> Tokenizer:
    """A tokenizer in memory; its weights come from `generator`, or are left unset for a checkpoint to fill.

    Built on the meta device first, so that torch's process-wide generator is never drawn from.
    """
    with torch.device("meta"):
        tokenizer = Tokenizer(config, channels)
    codebook_shapes = [(name, buffer.shape) for name, buffer in tokenizer.named_buffers() if name.endswith(".embed")]
    tokenizer.to_empty(device="cpu")
    if config.quantizer != "vq":
        tokenizer.quantizer = make_quantizer(config)  # its constants are not in any file, and nothing in it is random
    else:
        nn.init.zeros_(tokenizer.quantizer.get_buffer("zero"))  # where its loss starts from; in no file either
    if generator is not None:
        tokenizer.initialise(generator)
        for name, shape in codebook_shapes:
            initialise_codebook(tokenizer, name.rpartition(".")[0], shape, generator)
    return tokenizer.to(memory_format=torch.channels_last)


def initialise_codebook(tokenizer: Tokenizer, path: str, shape: torch.Size, generator: torch.Generator) -> None:
    """VQ's codebook and its running averages: small random codes, each counted as used once."""
    codebook = tokenizer.get_submodule(path)
    embed = torch.randn(shape, generator=generator) * 0.1
    for name, buffer in codebook.named_buffers():
        if name in ("embed", "embed_avg"):
            buffer.data.copy_(embed)
        else:
            buffer.data.fill_(1)


def make_quantizer(config: TokenizerConfig) -> FSQ | VectorQuantize | GivenIds:
    if config.quantizer == "ids":
        return GivenIds(config.vq_codebook_size)
    if config.quantizer == "fsq":
        with torch.device("cpu"):  # it computes with its constants when made, which the meta device cannot
            return FSQ(levels=list(config.levels))
    return VectorQuantize(
        dim=config.vq_code_dim,
        codebook_size=config.vq_codebook_size,
        decay=0.99,
        threshold_ema_dead_code=1,
        commitment_weight=0.25,
        kmeans_init=False,
        rotation_trick=False,
        sync_codebook=False,  # one rank alone trains it: by itself it would wait for the others
    )
