"""Regions in the pipelines of mmsegmentation, 0.x (DAFormer, HRDA, MIC, PiPa) and 1.x."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seco.common.checks import describe
from seco.common.inputs import ImageFiles
from seco.region_maps import from_region_map, read_region_map
from seco.regions import Regions

if TYPE_CHECKING:
    from seco.common.jobs.journal import Journal


@dataclass(frozen=True)
class LoadRegions:
    """A step of a pipeline: loads the regions of an image as a field that moves with it.

    It goes behind the loading of the image and before everything that moves it. It adds the map
    as ``results[key]``, and its name to ``results["seg_fields"]``, whose members are resized,
    cropped, flipped and padded as label maps are; and the table as ``results[key + "_table"]``.
    Both then go into the image's meta data, whence :func:`regions_of` takes them in the loop::

        PIPELINES.register_module()(seco.LoadRegions)  # mmseg 0.x; TRANSFORMS in 1.x

        dict(type="LoadRegions", folder="regions/"),
        ...
        dict(type="Collect", keys=["img"], meta_keys=(..., "regions", "regions_table"))

    Args:
        folder: what ``seco regions IMAGES FOLDER`` has written; ``None``, for a run without seco:
            nothing is read, both entries are ``None``, and :func:`regions_of` refuses them.
        images: the folder IMAGES, if the pipeline knows only the whole path of an image (mmseg
            1.x); ``None`` takes the name that 0.x keeps, relative to ``img_prefix``.
        key: the name of the field.
        check_images: refuse the regions of an image whose file is another one now than the one
            that ``seco regions`` saw; of each image, the first time that a process meets it, by
            size and time of change, and only where that differs by content. ``False`` if the
            training reads other files than those on purpose (other compression, an archive).

    Raises:
        FileNotFoundError: when called, no regions of that image, or no image to check.
        ValueError: when called, an image of another size than its regions, one that has been
            flipped already or has changed since, or one not in ``images``.

    Example:
        >>> LoadRegions("regions")({"img_info": {"filename": "a/1.png"}, "seg_fields": []})
        Traceback (most recent call last):
            ...
        FileNotFoundError: [Errno 2] No such file or directory: 'regions/a/1.npz'
    """

    folder: str | None
    images: str | None = None
    key: str = "regions"
    check_images: bool = True

    def __call__(self, results: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Add the two entries to ``results``, and give it back."""
        if self.folder is None:
            results[self.key] = results[f"{self.key}_table"] = None
            return results
        from seco.folder.regions import regions_file

        files, folder = self._files_of(results), Path(self.folder)
        region_map, table = read_region_map(regions_file(folder, files.place))
        size = tuple(results["img"].shape[:2]) if "img" in results else region_map.shape
        if size != region_map.shape or results.get("flip"):
            state = "flipped" if results.get("flip") else f"of {size}"
            raise ValueError(
                f"img: expected the image of {region_map.shape} as its regions saw it, got one "
                f"{state}; LoadRegions comes before whatever moves the image"
            )
        if self.check_images and files.place not in self._checked:
            self._check_image(files, folder)
            self._checked.add(files.place)
        results[self.key], results[f"{self.key}_table"] = region_map, table
        results.setdefault("seg_fields", []).append(self.key)
        return results

    @cached_property
    def _found(self) -> Journal | None:
        """What ``seco regions`` has noted of its images, read once per process."""
        from seco.folder.regions import found_in

        return None if self.folder is None else found_in(Path(self.folder))

    @cached_property
    def _checked(self) -> set[Path]:
        """The images that need not be looked at again."""
        return set()

    def _check_image(self, files: ImageFiles, folder: Path) -> None:
        from seco.folder.regions import check_age

        if self._found is None:  # the regions were not found by ``seco regions``
            return
        if not files.image.exists():
            raise FileNotFoundError(
                f"{files.image}: no such file, to see whether it is still what its regions were "
                "found in; LoadRegions(check_images=False) does not look"
            )
        try:
            check_age(files, folder, self._found)
        except ValueError as error:
            raise ValueError(
                f"{error} (compared with {files.image}); LoadRegions(check_images=False) takes "
                "them as they are"
            ) from error

    def _files_of(self, results: Mapping[str, Any]) -> ImageFiles:
        """The image, and what its regions are called."""
        if self.images is None:
            if "img_info" not in results:
                raise ValueError(
                    "images: expected the folder of the images where the pipeline gives no "
                    "results['img_info'], got None"
                )
            place = Path(results["img_info"]["filename"])
            image = Path(results.get("img_prefix") or "", place)
        else:
            whole = results.get("img_path") or results.get("filename")
            if whole is None:
                raise ValueError(
                    "results: expected the image's path as img_path or filename, which its "
                    f"loading leaves, got {describe(sorted(results))}; LoadRegions comes after it"
                )
            image = Path(whole)
            try:
                place = image.absolute().relative_to(Path(self.images).absolute())
            except ValueError as error:
                raise ValueError(f"images: expected a folder that holds {image}") from error
        name = place.with_suffix("")
        return ImageFiles(image, None, None, image_place=name, place=name)


def regions_of(metas: Sequence[Mapping[str, Any] | Any], *, key: str = "regions") -> list[Regions]:
    """Take the regions out of a batch's meta data, for :func:`seco.refine_in_loop`.

    Args:
        metas: one per image: mmseg 0.x' ``img_metas`` (of the target: ``target_img_metas``), or
            the data samples of 1.x.
        key: as in :class:`LoadRegions`.

    Returns:
        The regions of every image as it was augmented, those with a pixel left.

    Raises:
        TypeError: no meta data.
        ValueError: meta data without them, or of a ``LoadRegions(folder=None)``.
    """
    if isinstance(metas, Mapping) or not isinstance(metas, Iterable):
        raise TypeError(f"metas: expected meta data of every image, got {describe(metas)}")
    found = []
    for item in metas:
        meta = getattr(item, "metainfo", item)
        if not isinstance(meta, Mapping):
            raise TypeError(f"metas: expected meta data of every image, got {describe(meta)}")
        if key not in meta or f"{key}_table" not in meta:
            raise ValueError(
                f"metas: expected {key} and {key}_table in each, got {describe(sorted(meta))}; "
                "they must be in meta_keys of the pipeline's last step"
            )
        if meta[key] is None:
            raise ValueError(
                f"metas: expected {key} in each, got None, which LoadRegions(folder=None) leaves: "
                "name the folder of the regions there"
            )
        found.append(from_region_map(meta[key], meta[f"{key}_table"]))
    return found
