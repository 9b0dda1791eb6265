"""Where the files of a translated set lie: as in the source, so that one path changes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from seco.common.checks import check_choice


@dataclass(frozen=True)
class SetLayout:
    """The places of a translated set beside those of its source.

    A set is laid out as GTA, ``OUT/images`` and ``OUT/labels``; or, where the source's folders are
    called so, as SYNTHIA, ``OUT/RGB`` and ``OUT/GT/LABELS``. So a configuration of DAFormer, HRDA
    or MIC takes ``OUT`` as the source's folder.

    Args:
        source_images: the source's folder of images.
        source_labels: the source's folder of labels.
        out: the set's folder.
        labels_by: ``"link"``: the labels are a link to the source's folder, relative, so that
            both can be moved together; ``"copy"``: they are copies of those that belong to an
            image.

    Raises:
        ValueError: another ``labels_by``.

    Example:
        >>> layout = SetLayout(Path("gta/images"), Path("gta/labels"), Path("gta_sgg"))
        >>> layout.images.as_posix(), layout.labels.as_posix()
        ('gta_sgg/images', 'gta_sgg/labels')
        >>> layout = SetLayout(Path("syn/RGB"), Path("syn/GT/LABELS"), Path("syn_sgg"))
        >>> layout.images.as_posix(), layout.labels.as_posix()
        ('syn_sgg/RGB', 'syn_sgg/GT/LABELS')
    """

    source_images: Path
    source_labels: Path
    out: Path
    labels_by: Literal["link", "copy"] = "link"

    def __post_init__(self) -> None:
        check_choice("labels_by", self.labels_by, ("link", "copy"))

    @property
    def images(self) -> Path:
        """The set's folder of images; nothing else lies in it."""
        return self.out / ("RGB" if self._is_synthia else "images")

    @property
    def labels(self) -> Path:
        """The set's folder of labels, or the link to them."""
        return self.out / (Path("GT", "LABELS") if self._is_synthia else "labels")

    def image(self, place: Path) -> Path:
        """The translated image of a source image, told by its path without the format."""
        return self.images / place.parent / f"{place.name}.png"

    def copied_label(self, label: Path) -> Path | None:
        """Where a source label is copied to; ``None`` where labels are linked."""
        if self.labels_by == "link":
            return None
        return self.labels / label.relative_to(self.source_labels)

    def check_labels(self) -> None:
        """Raise ``ValueError`` if something else is where the labels go."""
        path = self.labels
        if self.labels_by == "copy" and path.is_symlink():
            raise ValueError(f"{path}: expected no link where labels are copied to, got one")
        if self.labels_by == "link" and os.path.lexists(path) and not self._is_linked:
            what = f"a link to {os.readlink(path)}" if path.is_symlink() else "something else"
            raise ValueError(f"{path}: expected a link to {self.source_labels}, got {what}")

    def link_labels(self) -> None:
        """Make the link to the source's labels, if labels are linked and it is not there.

        Raises:
            OSError: it cannot be made, as where a file system has no links.
        """
        if self.labels_by == "copy" or self._is_linked:
            return
        self.labels.parent.mkdir(parents=True, exist_ok=True)
        source = self.source_labels.parent.resolve() / self.source_labels.name
        target = os.path.relpath(source, self.labels.parent.resolve())
        try:
            self.labels.symlink_to(target, target_is_directory=True)
        except OSError as error:
            raise OSError(
                error.errno, f"{error.strerror} (--labels copy needs no link)", str(self.labels)
            ) from error

    @property
    def _is_synthia(self) -> bool:
        images, labels = self.source_images.absolute(), self.source_labels.absolute()
        return images.name == "RGB" and labels.parts[-2:] == ("GT", "LABELS")

    @property
    def _is_linked(self) -> bool:
        return self.labels.is_symlink() and self.labels.resolve() == self.source_labels.resolve()
