"""What commands and reports call an encoder, and what such a name asks of a SAM."""

from __future__ import annotations

from collections.abc import Mapping

from seco.correction.segmenter_extractor import MOST_LAYERS

_CROPS = "sam-crops"


def encoder_name(said: Mapping[str, str]) -> str | None:
    """The name of what an extractor's ``describe`` tells; ``None`` of a network of one's own.

    Example:
        >>> encoder_name({"kind": "segmenter"}), encoder_name({"kind": "module"})
        ('sam', None)
    """
    if said.get("kind") == "segmenter":
        layers = said.get("crop_n_layers")
        return "sam" if layers is None else f"{_CROPS}:{layers}"
    return "small" if said.get("kind") == "small" else None


def sam_layers(encoder: str) -> int | None:
    """The layers of windows that ``--encoder`` asks of the SAM; ``None`` if it names no SAM.

    Raises:
        ValueError: windows, but of no layers that there are.

    Example:
        >>> [sam_layers(name) for name in ("sam", "sam-crops", "sam-crops:2", "small")]
        [0, 1, 2, None]
    """
    names = {"sam": 0, _CROPS: 1} | {f"{_CROPS}:{n}": n for n in range(1, MOST_LAYERS + 1)}
    if encoder.partition(":")[0] == _CROPS and encoder not in names:
        raise ValueError(
            f"--encoder: expected {_CROPS} or {_CROPS}:LAYERS, of 1 to {MOST_LAYERS} layers, "
            f"got {encoder}"
        )
    return names.get(encoder)
