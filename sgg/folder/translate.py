"""Translate a labelled data set: a folder job, and the set that it becomes."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from seco.common.arrays import Array
from seco.common.checks import check_integer
from seco.common.files import read_image, write_bytes
from seco.common.images import check_pair
from seco.common.inputs import ImageFiles, Inputs
from seco.common.items import label_of
from seco.common.jobs import JobOptions, Manifest, Summary, run_job
from seco.common.jobs.run import is_out_of_memory
from seco.common.label_spaces import CITYSCAPES
from seco.common.labels import LabelSpace
from sgg.acceleration import accelerated
from sgg.diffusion.loading import as_diffusion
from sgg.diffusion.protocol import DiffusionModel
from sgg.diffusion.tiling import tiled
from sgg.folder.batches import Batches, Given, as_batch, of_batch
from sgg.folder.class_files import MIN_PIXELS, ClassFiles, find_class_files
from sgg.folder.classes import check_classes_of
from sgg.folder.layout import SetLayout
from sgg.folder.noise import image_seed
from sgg.folder.provenance import manifest_of
from sgg.options import TranslationOptions
from sgg.segmenter import as_segmenter
from sgg.translation import translate

PROVENANCE = "provenance.json"
_LESS_MEMORY = (
    "expected an image that the memory is enough for; less of it is needed with smaller settings "
    "max_copies and crop_margin, a smaller tile_size, fewer images_per_batch, or precision bfloat16"
)


@dataclass(frozen=True)
class TranslatedSet:
    """A translated data set.

    Args:
        layout: its places.
        summary: what became of every image.
        has_class_files: whether the source had files for rare class sampling.
        left_out: classes that these files no longer list: class id -> reason.
    """

    layout: SetLayout
    summary: Summary
    has_class_files: bool = False
    left_out: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Item:
    """An image as an item of the job, see :class:`seco.common.jobs.Item`."""

    files: ImageFiles
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]

    @property
    def name(self) -> str:
        return self.files.image_place.as_posix()


def translate_folder(
    inputs: Inputs,
    layout: SetLayout,
    diffusion: Any,
    seg_model: object,
    *,
    label_space: LabelSpace = CITYSCAPES,
    translation: TranslationOptions = TranslationOptions(),
    seed: int = 0,
    class_files: Path | None = None,
    min_pixels: int = MIN_PIXELS,
    images_per_batch: int = 1,
    options: JobOptions = JobOptions(),
) -> TranslatedSet:
    """Translate all images of a data set; a run that was stopped is gone on with.

    Every image is translated with noise that its name and ``seed`` decide, so that the set does not
    depend on the order or on the number of processes. What changes images by rounding only
    (``images_per_batch``; of ``translation`` ``tiles_per_batch``, ``channels_last``, ``compile``)
    may be another from run to run. Beside the images and labels of :class:`SetLayout` there are,
    once all is done, the files of rare class sampling, if the source has them, and
    ``provenance.json``.

    Args:
        inputs: images and labels of ``layout``'s source.
        layout: where the set goes.
        diffusion: of target images, see :func:`sgg.translate`.
        seg_model: see there; not asked, and may be ``None``, without guidance.
        label_space: of the labels, and of ``seg_model``.
        translation: how images are translated.
        seed: of the noise.
        class_files: folder of the source's :class:`ClassFiles`; by default the one that its
            images' folder lies in, if they are there.
        min_pixels: see :meth:`ClassFiles.keep`.
        images_per_batch: most images of one size that are translated together, which fills a GPU;
            memory grows with it. It changes images by rounding only.
        options: how the job is run.

    Raises:
        ValueError, OSError, JobStopped: as :func:`seco.common.jobs.run_job`; a model of another
            kind or with other classes, something else where the labels go, class files that are
            none, or none in ``class_files``.
        TypeError: as :func:`sgg.translate` about the models.
    """
    check_integer("seed", seed, low=0)
    check_integer("min_pixels", min_pixels, low=0)
    check_integer("images_per_batch", images_per_batch, low=1)
    model = as_diffusion(diffusion)
    segmenter = None
    if translation.guided:
        if seg_model is None:
            raise TypeError("seg_model: expected a segmentation model with guidance, got None")
        segmenter = as_segmenter(seg_model)
        check_classes_of(segmenter, inputs, label_space)
    _check_options(translation, model, label_space)
    manifest = _manifest(inputs, layout, label_space, translation, seed, model, segmenter)
    found = find_class_files(layout.source_images, class_files)
    listed = None if found is None else ClassFiles.read(found)
    layout.check_labels()

    def read(item: _Item) -> Given:
        label = item.files.label
        raw = label.read_bytes() if label is not None and len(item.outputs) > 1 else b""
        given = Given(read_image(item.files.image), label_of(item.files, inputs, label_space), raw)
        check_pair(given.image, given.label, names=("image", "label"))
        return given

    def translate_all(given: Sequence[tuple[_Item, Given]]) -> list[Array]:
        generators = [
            torch.Generator().manual_seed(image_seed(seed, item.name)) for item, _ in given
        ]
        images, labels = as_batch([read for _, read in given])
        try:
            translated = translate(
                images,
                labels,
                model,
                segmenter,
                ignore_index=label_space.ignore_index,
                generator=generators,
                **translation.arguments(),
            )
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise MemoryError(f"{_LESS_MEMORY}: {error}") from error
        return of_batch(translated)

    def write(item: _Item, result: tuple[Array, bytes]) -> Mapping[str, Any]:
        translated, raw = result
        for path in item.outputs[1:]:
            write_bytes(path, raw)
        write_bytes(item.outputs[0], _as_png(translated))
        return {}

    items = [_item(files, layout) for files in inputs.files]
    batches = Batches(options.processes.share(items), images_per_batch, read, translate_all)
    # Of all images together: each of them would convert the weights anew.
    with accelerated(
        model,
        segmenter,
        dtype=translation.torch_dtype,
        channels_last=translation.channels_last,
        compile=translation.compile,
    ):
        summary = run_job(
            items,
            layout.out,
            manifest,
            read=batches.read,
            work=batches.work,
            write=write,
            failures=inputs.failures,
            options=batches.told(options),
        )
    finished = summary.facts()
    labels = {item.inputs[1].name for item in items if item.name in finished}
    left_out: dict[str, str] = {}
    if listed is not None:
        listed, left_out = listed.keep(labels, min_pixels=min_pixels)
    if options.processes.first:
        layout.link_labels()
        if listed is not None:
            listed.write(layout.out)
        _write_provenance(layout, manifest, summary, left_out)
    return TranslatedSet(layout, summary, listed is not None, left_out)


def _item(files: ImageFiles, layout: SetLayout) -> _Item:
    if files.label is None:
        raise ValueError(f"inputs: expected a label for every image, got {files.name} without one")
    copied = layout.copied_label(files.label)
    outputs = [layout.image(files.image_place)] + ([] if copied is None else [copied])
    return _Item(files, (files.image, files.label), tuple(outputs))


def _check_options(
    translation: TranslationOptions, model: DiffusionModel, space: LabelSpace
) -> None:
    """Raise, before the work, what :func:`sgg.translate` would raise for every image."""
    weights = translation.settings.class_weights
    if translation.guided and weights is not None and len(weights) != space.num_classes:
        raise ValueError(
            f"class_weights: expected {space.num_classes} numbers, one per class of the label "
            f"space, got {len(weights)}"
        )
    pixel = torch.zeros(1, 3, 1, 1)  # of any size: tiles are checked against the model alone
    tiled(
        model,
        pixel,
        pixel,
        tile_size=translation.tile_size,
        tile_overlap=translation.tile_overlap,
    )


def _manifest(
    inputs: Inputs,
    layout: SetLayout,
    space: LabelSpace,
    translation: TranslationOptions,
    seed: int,
    diffusion: object,
    segmenter: object,
) -> Manifest:
    settings = {
        **translation.describe(),
        "seed": seed,
        "classes": space.names,
        "ignore_index": space.ignore_index,
        "stored_ignore_index": inputs.ignore_index,
        "labels_by": layout.labels_by,
    }
    models = {"diffusion": diffusion, "segmenter": segmenter}
    return manifest_of("sgg translate", settings, models)


def _as_png(image: Array) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def _write_provenance(
    layout: SetLayout, manifest: Manifest, summary: Summary, left_out: Mapping[str, str]
) -> None:
    """Say beside the images what they are, for those who get the set without its history."""
    said = {
        "made_by": manifest.job,
        "fingerprint": manifest.fingerprint,
        "source": {"images": str(layout.source_images), "labels": str(layout.source_labels)},
        "images": len(summary.facts()),
        "failed": len(summary.of("failed")),
        "settings": manifest.settings,
        "noise": "of each image: torch's CPU generator, see sgg.folder.image_seed",
        "models": manifest.models,
        "versions": manifest.versions,
        "classes_left_out_of_sampling": left_out,
    }
    write_bytes(layout.out / PROVENANCE, (json.dumps(said, indent=1) + "\n").encode())
