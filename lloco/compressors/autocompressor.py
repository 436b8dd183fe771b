"""The method's own compressor: causal summary tokens, read segment by segment with everything before them.

A segment's row is [soft prompt of earlier segments][segment tokens][summary tokens]; its soft prompt is the last
`summary_length` rows after the final norm. Checkpoint: a plain causal LM plus `embed_summary.weight`.
arXiv 2305.14788 section 3; LLoCO (arXiv 2404.07979) uses 1,536 tokens -> 50 vectors.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lloco.compressors.compressor import (
    LongDocuments,
    Progress,
    as_ids,
    compress_documents,
    windows_of,
)
from lloco.documents import Document
from lloco.errors import CheckpointError, DocumentError
from lloco.models.adapter import adapter_disabled
from lloco.models.checkpoint import checkpoint_folder, find_tensor
from lloco.models.decoder import Decoder, load_decoder
from lloco.soft_prompt import SoftPrompt

SUMMARY_KEY = "embed_summary.weight"
PUBLISHED_SEGMENT_LEN = 1536
PUBLISHED_MAX_SEGMENTS = 80


class AutoCompressor(nn.Module):
    """Causal language model with `summary_length` learned summary tokens; `summaries` is (summary_length, hidden_size)."""

    design = "autocompressor"

    def __init__(self, decoder: Decoder, summaries: Tensor, *, segment_len: int, max_segments: int | None = None):
        super().__init__()
        if summaries.ndim != 2 or summaries.shape[1] != decoder.hidden_size:
            raise CheckpointError(
                f"{SUMMARY_KEY} of shape (summary_length, {decoder.hidden_size}) was wanted in {decoder.name}, "
                f"{tuple(summaries.shape)} came: the tensor belongs to another model"
            )
        self.decoder = decoder
        self.model = decoder.model
        self.embed_summary = nn.Embedding.from_pretrained(summaries.to(decoder.device, decoder.dtype), freeze=False)
        self.accumulate = bool(getattr(decoder.model.config, "accumulate_summary", True))
        self.segment_len = segment_len
        reach = (decoder.max_len - segment_len) // self.summary_length
        if reach < 1:
            raise CheckpointError(
                f"segments of {segment_len} tokens and {self.summary_length} summary tokens do not fit the "
                f"{decoder.max_len} positions of {decoder.name}: choose a smaller segment_len"
            )
        self.max_segments = max_segments or min(reach, PUBLISHED_MAX_SEGMENTS)

    @property
    def name(self) -> str:
        """Name of the checkpoint."""
        return self.decoder.name

    @property
    def digest(self) -> str:
        """Digest of the checkpoint's weights, summary tokens included."""
        return self.decoder.digest

    @property
    def hidden_size(self) -> int:
        """Width of one virtual token."""
        return self.decoder.hidden_size

    @property
    def summary_length(self) -> int:
        """Virtual tokens that a segment becomes."""
        return self.embed_summary.num_embeddings

    @property
    def max_document_tokens(self) -> int:
        """Tokens that one recursion can reach."""
        return self.max_segments * self.segment_len

    def num_virtual_tokens(self, num_tokens: int) -> int:
        """Return the length of the soft prompt of a document of `num_tokens` tokens."""
        return -(-num_tokens // self.segment_len) * self.summary_length

    def read_segment(self, soft_prompt: Tensor, ids: Tensor, lengths: Tensor) -> Tensor:
        """Summarise one segment per row, given the soft prompt of the segments before it.

        Padding stands on the right, after the summary tokens, where a causal model never looks: rows need no mask.

        Args:
            soft_prompt: (batch, num_earlier_virtual_tokens, hidden_size).
            ids: (batch, seq_len) token ids, padded on the right with any id.
            lengths: (batch,) number of real tokens per row.

        Returns:
            (batch, summary_length, hidden_size)
        """
        batch, seq_len = ids.shape
        tokens = self.model.get_input_embeddings()(ids)
        row = torch.cat([tokens, tokens.new_zeros(batch, self.summary_length, self.hidden_size)], dim=1)
        places = lengths[:, None] + torch.arange(self.summary_length, device=ids.device)
        index = places[:, :, None].expand(-1, -1, self.hidden_size)
        summaries = self.embed_summary.weight.to(row.dtype).expand(batch, -1, -1)
        row = torch.cat([soft_prompt.to(row.dtype), row.scatter(1, index, summaries)], dim=1)
        hidden = self.model.get_decoder()(inputs_embeds=row, use_cache=False).last_hidden_state
        states: Tensor = hidden[:, soft_prompt.shape[1] :].gather(1, index)
        return states

    def empty_soft_prompt(self, batch: int) -> Tensor:
        """Return (batch, 0, hidden_size): what the first segment has before it."""
        return self.embed_summary.weight.new_zeros(batch, 0, self.hidden_size)

    @torch.no_grad()
    def compress_ids(
        self,
        documents: Sequence[Sequence[int] | Tensor],
        *,
        segment_len: int | None = None,
        batch_size: int = 8,
        long_documents: LongDocuments = "refuse",
        on_progress: Progress | None = None,
    ) -> list[Tensor]:
        """Compress documents of any mix of lengths; the result does not depend on what shares a batch.

        Args:
            documents: token ids, one sequence a document.
            segment_len: tokens a segment; the checkpoint's own when not given.
            batch_size: documents (windows, for long ones) read together.
            long_documents: what to do beyond `max_segments` segments.
            on_progress: called with the number of document tokens just read.

        Returns:
            One (num_virtual_tokens, hidden_size) tensor a document, in the model's dtype, on the CPU.

        Raises:
            DocumentError: an empty or overlong document, or ids outside the vocabulary.
        """
        segment_len = self.segment_len if segment_len is None else segment_len
        if segment_len < 1 or segment_len + self.summary_length > self.decoder.max_len:
            room = self.decoder.max_len - self.summary_length
            raise DocumentError(
                f"a segment_len from 1 to {room} was wanted, {segment_len} came: choose one in this range"
            )
        vocab_size = self.model.get_input_embeddings().num_embeddings
        reach = min(self.max_segments, (self.decoder.max_len - segment_len) // self.summary_length) * segment_len
        windows: list[tuple[int, Tensor]] = []
        for number, document in enumerate(documents):
            ids = as_ids(document, vocab_size)
            windows += [(number, ids[a:b]) for a, b in windows_of(len(ids), reach, long_documents)]
        order = sorted(range(len(windows)), key=lambda place: -len(windows[place][1]))
        done: dict[int, Tensor] = {}
        with adapter_disabled(self.model):
            for start in range(0, len(order), batch_size):
                places = order[start : start + batch_size]
                group = [windows[place][1] for place in places]
                done.update(zip(places, self._compress_group(group, segment_len, on_progress), strict=True))
        parts: list[list[Tensor]] = [[] for _ in documents]
        for place, (number, _) in enumerate(windows):
            parts[number].append(done[place])
        return [torch.cat(part) for part in parts]

    def _compress_group(self, group: Sequence[Tensor], segment_len: int, on_progress: Progress | None) -> list[Tensor]:
        """Compress windows sorted from long to short: all rows that still run have the same soft prompt length."""
        finished: list[list[Tensor]] = [[] for _ in group]
        soft_prompt = self.empty_soft_prompt(len(group))
        for start in range(0, len(group[0]), segment_len):
            running = [ids[start : start + segment_len] for ids in group if len(ids) > start]
            lengths = torch.tensor([len(ids) for ids in running], device=self.decoder.device)
            ids = nn.utils.rnn.pad_sequence(running, batch_first=True).to(self.decoder.device)
            soft_prompt = soft_prompt[: len(running)]
            states = self.read_segment(soft_prompt, ids, lengths)
            for row, vectors in zip(finished, states.cpu(), strict=False):
                row.append(vectors)
            soft_prompt = torch.cat([soft_prompt, states], dim=1) if self.accumulate else states
            if on_progress is not None:
                on_progress(int(lengths.sum()))
        return [torch.cat(row) for row in finished]

    def compress(self, document: Document) -> SoftPrompt:
        """Compress one document's text; a long one in windows, so that nothing is lost.

        Raises:
            CheckpointError: the checkpoint has no tokenizer.
            DocumentError: the document has no text.
        """
        return next(compress_documents(self, [document]))

    def save(self, folder: str | Path) -> None:
        """Write a plain causal-LM folder plus `embed_summary.weight`, which stock loaders ignore."""
        folder = Path(folder)
        config = self.model.config
        config.summary_length, config.segment_len, config.accumulate_summary = (
            self.summary_length,
            self.segment_len,
            True,
        )
        self.model.save_pretrained(folder, max_shard_size="1TB")
        if self.decoder.tokenizer is not None:
            self.decoder.tokenizer.save_pretrained(folder)
        from safetensors.torch import load_file

        tensors = load_file(folder / "model.safetensors")
        tensors[SUMMARY_KEY] = self.embed_summary.weight.detach().cpu().contiguous()
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def load_autocompressor(
    path_or_hub_id: str | Path, *, device: str | None = None, dtype: str | None = None
) -> AutoCompressor:
    """Load a checkpoint in the published AutoCompressor layout.

    Raises:
        CheckpointError: unreadable, or without `embed_summary.weight` (a plain language model cannot compress).
    """
    folder = checkpoint_folder(path_or_hub_id)
    summaries = find_tensor(folder, SUMMARY_KEY)
    if summaries is None:
        raise CheckpointError(
            f"a compressor was wanted and {path_or_hub_id} has no {SUMMARY_KEY}: it is a plain language model; "
            "name an AutoCompressor checkpoint, or train one with `lloco pretrain`"
        )
    decoder = load_decoder(folder, device=device, dtype=dtype)
    if (declared := getattr(decoder.model.config, "summary_length", len(summaries))) != len(summaries):
        raise CheckpointError(
            f"{folder} declares {declared} summary tokens and holds {len(summaries)}: the config is another model's"
        )
    segment_len = getattr(decoder.model.config, "segment_len", None)
    room = decoder.max_len - len(summaries)
    compressor = AutoCompressor(
        decoder,
        summaries,
        segment_len=segment_len or (PUBLISHED_SEGMENT_LEN if room > PUBLISHED_SEGMENT_LEN else room // 2),
    )
    return compressor.eval()
