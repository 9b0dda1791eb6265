"""What is learnt from and measured of every sample: features of its learnable connectivities.

A frozen extractor's features are the same every time, so they are kept: an image passes it once
as it is, and once mirrored if mirroring is asked for. That is exact: a connectivity's features do
not depend on which others are asked for. (A mirrored image is passed itself, since a network's
features of it are not the mirror image of its features.)
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import torch
from torch import Tensor

from seco.correction.classifier import ConnectivityClassifier
from seco.correction.samples import Scene
from seco.correction.stream import SampleStream

FEATURE_MEMORY = 2 * 2**30
"""Bytes of features to keep, if nobody says another number."""


@dataclass
class Lesson:
    """The N learnable connectivities of one sample; all tensors are on the CPU.

    Args:
        index: of the sample.
        numbers: (N,) int64, which of all the sample's connectivities they are.
        classes: (N,) int64.
        areas: (N,) int64.
        confidences: (N,) float32 in [0, 1], how sure the labels are, if that is known.
        given: see :class:`seco.correction.samples.Scene`.
        features: (N, C) float32, by whether the image is mirrored, as far as kept.
    """

    index: int
    numbers: Tensor
    classes: Tensor
    areas: Tensor
    confidences: Tensor | None = None
    given: bool = False
    features: dict[bool, Tensor] = field(default_factory=dict)


class Lessons:
    """The lessons of a stream's samples; of a frozen extractor the features are kept.

    Args:
        classifier: whose features.
        stream: of samples.
        min_area: what is smaller is not learnable.
        memory: bytes of features to keep; those of further images are extracted every time.
    """

    def __init__(
        self, classifier: ConnectivityClassifier, stream: SampleStream, min_area: int, memory: int
    ) -> None:
        self.frozen = classifier.extractor.trained is None
        """Whether features are the same every time."""
        self._classifier, self._stream, self._min_area = classifier, stream, min_area
        self._memory, self._left, self._warned = memory, memory, memory == 0
        self._kept: dict[int, Lesson] = {}
        self._last: tuple[int, Scene] | None = None

    def __getitem__(self, index: int) -> Lesson:
        """The lesson of a sample; errors are those of reading it."""
        if index in self._kept:
            return self._kept[index]
        scene = self._scene(index)
        numbers = (scene.areas >= self._min_area).nonzero()[:, 0]
        classes, areas = scene.connectivities.classes[numbers], scene.areas[numbers]
        sure = scene.confidences
        if sure is not None:
            sure = sure[numbers].cpu()
        return Lesson(index, numbers.cpu(), classes.cpu(), areas.cpu(), sure, scene.given)

    def read(self, index: int, scene: Scene | None) -> Lesson:
        """The lesson of a sample whose scene may have been read already."""
        if scene is not None:
            self._last = index, scene
        return self[index]

    def wants(self, index: int, *mirrored: bool) -> bool:
        """Whether features, mirrored or not, of a sample need its image; any thread may ask."""
        kept = self._kept.get(index)
        return kept is None or any(kind not in kept.features for kind in mirrored)

    def features(self, lesson: Lesson, chosen: Tensor, *, mirrored: bool = False) -> Tensor:
        """Features of some connectivities of a lesson.

        Args:
            lesson: of this stream.
            chosen: (M,) int64 on the CPU, of 0..N-1.
            mirrored: of the mirrored image.

        Returns:
            (M, C) float32 on the extractor's device, differentiable if it is trained.
        """
        if not self.frozen:
            return self._extract(lesson.index, lesson.numbers[chosen], mirrored)
        found = lesson.features.get(mirrored)
        if found is None:
            with torch.no_grad():
                found = self._extract(lesson.index, lesson.numbers, mirrored).cpu()
            if found.nbytes <= self._left:
                self._left -= found.nbytes
                lesson.features[mirrored] = found
                self._kept[lesson.index] = lesson
            elif not self._warned:
                self._warned = True
                warnings.warn(
                    f"feature_memory: {self._memory / 2**30:.3g} GiB hold the features of "
                    f"{len(self._kept)} images; the others pass the encoder again at every visit, "
                    "which is slow: give more",
                    stacklevel=2,
                )
        return found[chosen].to(self._classifier.extractor.device)

    def _extract(self, index: int, numbers: Tensor, mirrored: bool) -> Tensor:
        scene = self._scene(index)
        if mirrored:
            scene = scene.flipped()
        ids = scene.connectivities.ids
        asked = torch.zeros(len(scene.areas) + 1, dtype=torch.int64, device=ids.device)
        order = torch.arange(1, len(numbers) + 1, device=ids.device)
        asked[numbers.to(ids.device) + 1] = order
        return self._classifier.features(scene.image, asked[ids.long()], len(numbers))

    def _scene(self, index: int) -> Scene:
        if self._last is None or self._last[0] != index:
            self._last = None  # one sample is held at a time
            self._last = index, self._stream[index]
        return self._last[1]
