"""Features of regions out of a promptable segmenter's image embedding."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from seco.common.checks import check_integer, describe
from seco.common.modules import fingerprint
from seco.correction.levels import levels_of
from seco.correction.protocol import FeatureMap
from seco.correction.stitching import stitch
from seco.sam.crop_layers import windows_of_layer
from seco.sam.inference import encode
from seco.sam.proposal_settings import ProposalSettings
from seco.sam.protocol import Embedding, PromptableSegmenter

MOST_LAYERS = 4
"""Of windows: 341 passes of the encoder."""
_OVERLAP_RATIO = ProposalSettings().crop_overlap_ratio


class SegmenterExtractor:
    """The image embedding of a SAM, or of another promptable segmenter; frozen.

    Args:
        segmenter: see :func:`seco.load_sam`.
        level: which of the embedding's tensors to take, counted as in its ``features``; ``None``
            takes the one with the most channels, which is SAM's and SAM 2's image embedding.
        crop_n_layers: look closer as well: layer i encodes ``2**i`` by ``2**i`` overlapping
            windows of the image, one by one, as :class:`seco.ProposalSettings` cuts them, and adds
            a map of smaller cells (their sides by 1.5 in layer 1, by 2.6 in layer 2). Regions of a
            few cells are told apart better; one layer costs four more passes of the encoder, two
            cost twenty. At most 4.

    Raises:
        TypeError, ValueError: an argument of another kind or range; or, at the first image, an
            embedding that holds no (1, C, h, w) tensor.

    Example:
        >>> from seco import load_sam
        >>> extractor = SegmenterExtractor(load_sam("tiny"), crop_n_layers=1)
        >>> for level in extractor(torch.zeros(3, 64, 128, dtype=torch.uint8)):
        ...     print(tuple(level.values.shape), level.extent)
        (64, 32, 32) (16.0, 32.0)
        (64, 27, 55) (27.0, 55.0)
    """

    def __init__(
        self,
        segmenter: PromptableSegmenter,
        *,
        level: int | None = None,
        crop_n_layers: int = 0,
    ) -> None:
        if not isinstance(segmenter, PromptableSegmenter):
            raise TypeError(
                f"segmenter: expected the result of seco.load_sam, got {describe(segmenter)}"
            )
        self._segmenter = segmenter
        self._level = level
        self._crop_n_layers = check_integer("crop_n_layers", crop_n_layers, low=0)
        if crop_n_layers > MOST_LAYERS:
            raise ValueError(f"crop_n_layers: expected at most {MOST_LAYERS}, got {crop_n_layers}")

    @property
    def device(self) -> torch.device:
        """Where the segmenter lives."""
        return self._segmenter.device

    @property
    def trained(self) -> nn.Module | None:
        """None: a segmenter is never trained here."""
        return None

    @property
    def learning_rate_factor(self) -> float:
        """0, since nothing of it is trained."""
        return 0.0

    def __call__(self, image: Tensor, *, embedding: Embedding | None = None) -> list[FeatureMap]:
        """See :class:`FeatureExtractor`.

        Args:
            image: (3, H, W).
            embedding: by the segmenter, of the whole image, if it is known.
        """
        if embedding is None:
            (embedding,) = encode(image[None], self._segmenter)
        level = self._level_of(embedding)
        maps = [FeatureMap(level, self._extent_of(embedding, level))]
        for layer in range(1, self._crop_n_layers + 1):
            windows = windows_of_layer(
                (image.shape[-2], image.shape[-1]), layer, overlap_ratio=_OVERLAP_RATIO
            )
            levels = []
            for window in windows:  # one by one: embeddings may hold much more than this level
                crop = image[None, :, window.rows, window.columns]
                (embedding,) = encode(crop, self._segmenter)
                levels.append(self._level_of(embedding))
            extent = self._extent_of(embedding, levels[-1])  # windows are of one size
            maps.append(stitch(torch.stack(levels), windows, extent=extent))
        return maps

    def shares(self, segmenter: object) -> bool:
        """Whether an image's embedding by this segmenter is what the extractor would make."""
        return segmenter is self._segmenter

    def describe(self) -> dict[str, str]:
        """Its kind and the segmenter's: the weights of its modules, and what it says of itself."""
        said = {
            "kind": "segmenter",
            "segmenter": type(self._segmenter).__name__,
            "level": str(self._level),
        }
        if self._crop_n_layers:
            said["crop_n_layers"] = str(self._crop_n_layers)
        said |= {name: fingerprint(module) for name, module in self._modules().items()}
        return said | self._own_words()

    @property
    def tells_segmenters_apart(self) -> bool:
        """Whether :meth:`describe` says more of the segmenter than its class; nothing is hashed."""
        return bool(self._modules() or self._own_words())

    def _modules(self) -> dict[str, nn.Module]:
        """What holds the segmenter's weights, by the name under which they are told."""
        segmenter: object = self._segmenter
        found = {"weights": segmenter} if isinstance(segmenter, nn.Module) else {}
        held = {**getattr(segmenter, "__dict__", {}), "model": getattr(segmenter, "model", None)}
        for name, part in sorted(held.items()):
            if isinstance(part, nn.Module):
                found["weights" if name == "model" else f"weights of {name}"] = part
        return found

    def _own_words(self) -> dict[str, str]:
        """What the segmenter says of itself, if it does."""
        own = getattr(self._segmenter, "describe", None)
        return {str(name): str(value) for name, value in own().items()} if callable(own) else {}

    def _level_of(self, embedding: Embedding) -> Tensor:
        """(C, h, w), padding included."""
        features = embedding.features
        if isinstance(features, Sequence) and self._level is None:
            maps = [item for item in features if isinstance(item, Tensor) and item.ndim == 4]
            features = max(maps, key=lambda item: item.shape[1], default=None)
        (level,) = levels_of(features, self._level)
        return level[0]

    def _extent_of(self, embedding: Embedding, level: Tensor) -> tuple[float, float]:
        """The cells that show the image."""
        # How much of the frame is padding only the decoder tells: ask it about any point.
        centre = [[[side / 2 for side in reversed(embedding.size)]]]
        answer = self._segmenter.decode(
            embedding,
            points=torch.tensor(centre, device=self.device),
            point_labels=torch.ones(1, 1, dtype=torch.int64, device=self.device),
        )
        rows, columns = (
            cells * shown / of
            for cells, shown, of in zip(
                level.shape[-2:], answer.extent, answer.logits.shape[-2:], strict=True
            )
        )
        return rows, columns
