"""Where everything of a progressive translation lies, in one folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """Where a progressive translation keeps what.

    Args:
        out: its folder.

    Example:
        >>> Places(Path("out")).weights(2).as_posix()
        'out/stage-2/segmenter/segmenter.safetensors'
    """

    out: Path

    def data(self, stage: int) -> Path:
        """A stage's translated set, in the layout of :class:`sgg.folder.SetLayout`."""
        return self.out / f"stage-{stage}"

    def measures(self, stage: int) -> Path:
        """The folder of what was measured of a stage's set; 0 is the source."""
        return (self.data(stage) if stage else self.out / "source") / "measures"

    def segmenter(self, stage: int) -> Path:
        """The folder of the segmenter that a stage hands on."""
        return self.data(stage) / "segmenter"

    def weights(self, stage: int) -> Path:
        """Its weights, a state dict as safetensors."""
        return self.segmenter(stage) / "segmenter.safetensors"

    @property
    def numbers(self) -> Path:
        """What came out, for programs."""
        return self.out / "progressive.json"

    @property
    def report(self) -> Path:
        """The same, for people."""
        return self.out / "report.html"

    def stages(self) -> list[int]:
        """The stages of which there is a folder, in their order."""
        found = (path.name.partition("-")[2] for path in self.out.glob("stage-*"))
        return sorted(int(number) for number in found if number.isdecimal())
