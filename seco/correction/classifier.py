"""The connectivity classifier: features averaged under each region, one linear layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seco.correction.pooling import cell_shares, find_runs, pool_features
from seco.correction.protocol import FeatureExtractor, FeatureMap

_HEAD, _EXTRACTOR = "head.", "extractor."


class ConnectivityClassifier:
    """Tell the class of every region of an image, with one pass of the extractor for all of them.

    Each level's averages are normalised over their channels, so that embeddings of any scale suit
    one learning rate. The linear layer starts at zero: all classes equally probable.

    Args:
        extractor: see :class:`seco.correction.protocol.FeatureExtractor`.
        num_classes: K.

    Example:
        >>> from seco.correction.extractors import SmallExtractor
        >>> classifier = ConnectivityClassifier(SmallExtractor(), 3)
        >>> ids = torch.tensor([[1, 1, 2, 2]]).repeat_interleave(4, 0)
        >>> classifier(torch.zeros(3, 4, 4), ids, 2).softmax(1)[0].tolist()
        [0.3333333432674408, 0.3333333432674408, 0.3333333432674408]

    Source: SeCo, equation 2.
    """

    def __init__(self, extractor: FeatureExtractor, num_classes: int) -> None:
        self.extractor = extractor
        self.num_classes = num_classes
        self._head: nn.Linear | None = None

    def __call__(self, image: Tensor, ids: Tensor, count: int) -> Tensor:
        """Logits of the classes, (N, K) float32; arguments are those of :meth:`features`."""
        return self.classify(self.features(image, ids, count))

    def features(
        self, image: Tensor, ids: Tensor, count: int, *, maps: Sequence[FeatureMap] | None = None
    ) -> Tensor:
        """What the linear layer sees of every region, (N, C) float32 on the extractor's device.

        Args:
            image: (3, H, W), uint8 or float32 in 0-255.
            ids: (H, W) integers, the region of every pixel, 1..N; 0 is none.
            count: N.
            maps: the extractor's of the image, if they are known.
        """
        runs = find_runs(ids.to(self.extractor.device), count)
        pooled = []
        for level in self.extractor(image) if maps is None else maps:
            grid = level.values.shape[1], level.values.shape[2]
            shares = cell_shares(runs, grid, extent=level.extent)
            pooled.append(pool_features(level.values, shares))
        return torch.cat([F.layer_norm(level, level.shape[1:]) for level in pooled], dim=1)

    def classify(self, features: Tensor) -> Tensor:
        """Logits of the classes, (N, K) float32, of N regions' features."""
        logits: Tensor = self.head(features.shape[1])(features)
        return logits

    def head(self, channels: int) -> nn.Linear:
        """The linear layer, made at the first call, when the number of features is known.

        Raises:
            ValueError: it was made for another number of features.
        """
        if self._head is None:
            with torch.inference_mode(False):  # of the caller: it is to be trained
                # On meta nothing is drawn.
                head = nn.Linear(channels, self.num_classes, device="meta", dtype=torch.float32)
                self._head = head.to_empty(device=self.extractor.device)
                for parameter in self._head.parameters():
                    nn.init.zeros_(parameter)
        if self._head.in_features != channels:
            raise ValueError(
                f"encoder: expected {self._head.in_features} features per region, as the "
                f"classifier was made for, got {channels}"
            )
        return self._head

    def parameters(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """The linear layer's parameters, and the extractor's trained ones."""
        assert self._head is not None
        trained = self.extractor.trained
        return list(self._head.parameters()), [] if trained is None else list(trained.parameters())

    def state(self) -> dict[str, Tensor]:
        """All that training changes."""
        assert self._head is not None
        state = {_HEAD + name: value for name, value in self._head.state_dict().items()}
        if self.extractor.trained is not None:
            trained = self.extractor.trained.state_dict()
            state |= {_EXTRACTOR + name: value for name, value in trained.items()}
        return state

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take what :meth:`state` gave.

        Raises:
            ValueError: it is of another classifier.
        """
        own = {name[len(_HEAD) :]: v for name, v in state.items() if name.startswith(_HEAD)}
        weight = own.get("weight")
        if weight is None or weight.ndim != 2 or len(weight) != self.num_classes:
            raise ValueError(
                f"state: expected a classifier of {self.num_classes} classes, "
                f"got {'none' if weight is None else tuple(weight.shape)}"
            )
        trained = {
            name[len(_EXTRACTOR) :]: v for name, v in state.items() if name.startswith(_EXTRACTOR)
        }
        try:
            self.head(weight.shape[1]).load_state_dict(own)
            if self.extractor.trained is not None:
                self.extractor.trained.load_state_dict(trained)
        except RuntimeError as error:
            raise ValueError(f"state: expected this encoder's weights, got {error}") from error
