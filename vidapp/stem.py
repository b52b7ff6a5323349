"""The stem: what a token is embedded with besides itself, its 3x3 neighbours in its own frame and in the frames before.

A convolution over token embeddings (Xiao et al., "Early Convolutions Help Transformers See Better", 2021), in space and back in
time. Attention along time looks at one place; where something came from lies beside it, and the stem shows it to the first layer.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import ModelConfig

SIDE = 3  # neighbours along an axis


class Stem(nn.Module):
    """Sums over the neighbours of tokens. S frames are looked at: a frame itself and S - 1 before it.

    `sums` is a convolution, the faster for many frames and for gradients: none of them then goes through a table that 27 neighbours of
    every token were looked up in. `own_frame` and `frames_before` look them up: of one frame that takes half as long on a CPU.

    Tokens are first made as narrow as a head, d: then the weights are few, and a large codebook costs nothing.
    Axes: B clips, F frames passed, K frames that there are to look at, N = h*w positions, M = 9 neighbours, V codebook, D width.
    """

    neighbours_NM: Tensor  # int64; N where a neighbour is outside of the frame

    def __init__(self, config: ModelConfig, grid: int) -> None:
        super().__init__()
        self.frames, self.grid = config.stem_frames, grid
        narrow = config.width // config.heads
        self.narrow = nn.Linear(config.width, narrow, bias=False)
        self.own = nn.Linear(SIDE**2 * narrow, config.width, bias=False)
        self.before = nn.Linear((self.frames - 1) * SIDE**2 * narrow, config.width, bias=False) if self.frames > 1 else None
        self.register_buffer("neighbours_NM", neighbours(grid), persistent=False)

    def table(self, tokens_VD: Tensor) -> Tensor:
        """Narrow embeddings (V + 2, d) of every id, of the mask, and, last, of what is outside: zero."""
        return F.pad(self.narrow(tokens_VD), (0, 0, 0, 1))

    def sources(self, allowed_BFK: Tensor, times_F: Tensor, key_times_K: Tensor) -> Tensor:
        """Int64 (B or 1, F, S - 1): which of the K frames a frame looks at 1, 2, ... frames before itself; K where it may see none."""
        before_S = torch.arange(1, self.frames, device=times_F.device)
        wanted_FSK = times_F[:, None, None] - before_S[:, None] == key_times_K
        found_BFSK = allowed_BFK[:, :, None] & wanted_FSK
        return F.pad(found_BFSK, (0, 1), value=True).int().argmax(dim=-1)  # the first that is found

    def sums(self, tokens_BFN: Tensor, there_BKN: Tensor, sources_BFS: Tensor | None, table: Tensor) -> Tensor:
        """(B, F, N, D) of the neighbours in the same frame and in those of `sources(...)` among the frames there are; without them where
        the stem looks at one frame. table: `table(...)`."""
        shown, weights = [F.embedding(tokens_BFN, table)], [self.own.weight]
        if self.before:
            assert sources_BFS is not None
            clips = torch.arange(len(there_BKN), device=there_BKN.device)[:, None]
            there_BKNd = F.pad(F.embedding(there_BKN, table), (0, 0, 0, 0, 0, 1))  # last the frame that there is none
            shown += [there_BKNd[clips, sources_BF] for sources_BF in sources_BFS.unbind(-1)]
            weights.append(self.before.weight)
        kernel = torch.cat(weights, dim=1).unflatten(1, (self.frames, SIDE, SIDE, -1)).permute(0, 1, 4, 2, 3).flatten(1, 2)
        image = torch.cat(shown, dim=-1).flatten(0, 1).unflatten(1, (self.grid, self.grid)).permute(0, 3, 1, 2)
        found = F.conv2d(image, kernel.contiguous(memory_format=torch.channels_last), padding=SIDE // 2)
        return found.permute(0, 2, 3, 1).flatten(1, 2).unflatten(0, tokens_BFN.shape[:2])

    def own_frame(self, tokens_BFN: Tensor, table: Tensor) -> Tensor:
        """(B, F, N, D) of the neighbours in the same frame. table: `table(...)`."""
        return self.own(F.embedding(self.surroundings(tokens_BFN, len(table) - 1), table).flatten(-2))

    def frames_before(self, there_BKN: Tensor, sources_BFS: Tensor, table: Tensor) -> Tensor:
        """(B, F, N, D) of the neighbours in the frames of `sources(...)` among those there are."""
        assert self.before, "a stem that sees one frame looks at none before it"
        outside = len(table) - 1
        clips = torch.arange(len(there_BKN), device=there_BKN.device)[:, None, None]
        ids_BFSN = F.pad(there_BKN, (0, 0, 0, 1), value=outside)[clips, sources_BFS]
        ids_BFNM = self.surroundings(ids_BFSN, outside).transpose(2, 3).flatten(-2)  # M: of all S - 1 frames
        return self.before(F.embedding(ids_BFNM, table).flatten(-2))

    def surroundings(self, tokens: Tensor, outside: int) -> Tensor:
        """The ids of all neighbours (..., N, M) of tokens (..., N), `outside` where there are none."""
        return F.pad(tokens, (0, 1), value=outside)[..., self.neighbours_NM]


def neighbours(grid: int) -> Tensor:
    """Int64 (N, M): the positions of a position's 3x3 neighbourhood, row by row; N where that is outside of the grid."""
    positions = F.pad(torch.arange(grid * grid).view(grid, grid), (1, 1, 1, 1), value=grid * grid)
    return positions.unfold(0, SIDE, 1).unfold(1, SIDE, 1).reshape(grid * grid, SIDE**2).contiguous()
