"""Promptable segmenters: the protocol, the back ends, the bundled model."""

from seco.sam.loading import as_segmenter, load_sam
from seco.sam.protocol import Embedding, MaskLogits, MultiImageDecoder, PromptableSegmenter

__all__ = [
    "Embedding",
    "MaskLogits",
    "MultiImageDecoder",
    "PromptableSegmenter",
    "as_segmenter",
    "load_sam",
]
