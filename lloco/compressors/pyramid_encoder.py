"""The encoder of the `pyramid` design, for pretrained decoders: neighbouring vectors are merged pair by pair.

Level 1 merges two tokens into a vector (2x), level 2 two such vectors (4x), and so on. A vector begins as the sum of
its tokens' own embeddings over the square root of their number, which a pretrained decoder can already read in part;
maps of the two halves and a network over them and the encoder's states are learned from there. The encoder has the
decoder's first layers, with weights of its own or with LoRA. Does not know about documents or windows.
"""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lloco.compressors.local_encoder import layer_states


class PairMerge(nn.Module):
    """Two neighbouring vectors and their states become one of each."""

    def __init__(self, width: int, merge_size: int) -> None:
        super().__init__()
        self.left = nn.Linear(width, width, bias=False)
        self.right = nn.Linear(width, width, bias=False)
        self.widen = nn.Linear(4 * width, merge_size)
        self.narrow = nn.Linear(merge_size, width)
        with torch.no_grad():
            for half in (self.left, self.right):
                half.weight.copy_(torch.eye(width) * 0.5**0.5)
            self.narrow.weight.zero_()
            self.narrow.bias.zero_()

    def forward(self, vectors: Tensor, states: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Merge vectors and states (batch, 2 * num_pairs, width) into (batch, num_pairs, width) of each."""
        first, second = vectors[:, 0::2], vectors[:, 1::2]
        seen = torch.cat([_normed(part) for part in (first, second, states[:, 0::2], states[:, 1::2])], dim=-1)
        correction = self.narrow(nn.functional.gelu(self.widen(seen))) * scale
        merged = self.left(first) + self.right(second) + correction
        return merged, (states[:, 0::2] + states[:, 1::2]) / 2


class PyramidEncoder(nn.Module):
    """Layers over a window, then as many levels of merges as the ratio asks for."""

    design = "pyramid"
    summary_length = 1

    def __init__(self, body: PreTrainedModel, *, num_levels: int, merge_size: int, embed_scale: float) -> None:
        super().__init__()
        width = int(body.config.hidden_size)
        self.body = body
        self.levels = nn.ModuleList(PairMerge(width, merge_size) for _ in range(num_levels))
        self.scale = nn.Buffer(torch.tensor(embed_scale))
        self.merge_size = merge_size

    def can_make(self, segment_len: int) -> bool:
        """Return whether segments of this many tokens become a vector: powers of 2, one for each level."""
        return segment_len in (2 ** (level + 1) for level in range(len(self.levels)))

    def weights_a_vector(self, segment_len: int) -> int:
        """Return how many weights are multiplied for a vector, behind the layers: each level makes half as many."""
        num_levels = segment_len.bit_length() - 1
        of_level = sum(weight.numel() for weight in self.levels[0].parameters() if weight.ndim > 1)
        return sum(of_level * 2 ** (num_levels - 1 - level) for level in range(num_levels))

    def forward(self, tokens: Tensor, lengths: Tensor, segment_len: int) -> Tensor:
        """Return the vectors of one window a row.

        Args:
            tokens: (batch, seq_len, hidden_size) embeddings, padded on the right with anything.
            lengths: (batch,) number of real tokens in each row.
            segment_len: tokens that become a vector, a power of 2.

        Returns:
            (batch, num_vectors, hidden_size); of a shorter row the first vectors of its own length are meant.
        """
        num_tokens = tokens.shape[1]
        is_token = (torch.arange(num_tokens, device=tokens.device) < lengths[:, None])[:, :, None]
        # Causal layers never look at padding, which stands on the right.
        states = layer_states(self.body, tokens, None)
        gap = (0, 0, 0, -num_tokens % segment_len)
        vectors = nn.functional.pad(tokens * is_token, gap)
        states = nn.functional.pad(states * is_token, gap)
        num_levels = segment_len.bit_length() - 1
        for level in self.levels[:num_levels]:
            vectors, states = level(vectors, states, self.scale)
        return vectors


def _normed(values: Tensor) -> Tensor:
    normed: Tensor = nn.functional.rms_norm(values.float(), values.shape[-1:], eps=1e-6).to(values.dtype)
    return normed
