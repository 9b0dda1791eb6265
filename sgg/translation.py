"""The one call users make: a labelled source image in, the same scene in the target domain out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from seco.common.arrays import Array
from seco.common.checks import check_holds_ignore, check_labels, describe
from seco.common.compile_modes import CompileMode
from seco.common.device_time import computing
from seco.common.images import Map, check_pair, labels_to_batch, to_batch
from seco.common.labels import LabelSpace
from seco.common.normalization import Normalization
from sgg.acceleration import accelerated, in_powers_of_two
from sgg.diffusion.loading import as_diffusion
from sgg.diffusion.protocol import DiffusionModel, Prediction
from sgg.diffusion.tiling import TileSize, tiled
from sgg.guided_steps import label_guidance
from sgg.options import Guidance, GuidanceInput, Precision, TranslationOptions
from sgg.sampling import Predict, Sampler, add_noise, reverse_process, reverse_timesteps
from sgg.segmenter import IMAGENET, Segmenter, as_segmenter
from sgg.settings import GuidanceSettings

_PRECISIONS: Mapping[torch.dtype | None, Precision | None] = {
    None: None,
    torch.bfloat16: "bfloat16",
    torch.float16: "float16",
}
# Calls of the denoiser where the caller does not say, with DDIM.
_DDIM_STEPS = 50


def translate(
    src_img: Map,
    src_label: Array | Tensor,
    diffusion: Any,
    seg_model: object,
    *,
    strength: float = 0.6,
    num_inference_steps: int | None = None,
    sampler: Sampler = "ddim",
    eta: float = 0.0,
    guidance: Guidance = "sgg",
    guidance_scale: float = 1.0,
    guidance_input: GuidanceInput = "pred_x0",
    seg_normalization: Normalization | None = IMAGENET,
    ignore_index: int = 255,
    settings: GuidanceSettings = GuidanceSettings(),
    tile_size: TileSize = "auto",
    tile_overlap: int | None = None,
    tiles_per_batch: int = 1,
    dtype: torch.dtype | None = None,
    channels_last: bool = False,
    compile: bool | CompileMode = False,
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
    progress: bool = False,
) -> Map:
    """Translate labelled source images to the domain of a diffusion model, true to the label.

    The image is noised to step n and denoised by a model of the target domain; at each step the
    gradient of a segmenter's loss on the source label pulls the sample to what the label says
    (Semantic Gradient Guidance): of every class alone in its region, and of the whole scene, in
    turn.

    Args:
        src_img: RGB source image(s): (H, W, 3) uint8 array, or (3, H, W) / (B, 3, H, W) tensor,
            uint8 or floats in 0-1; of any size: what the model cannot take is padded and cropped.
        src_label: their labels, (H, W) or (B, H, W), integer class ids of ``seg_model`` or
            ``ignore_index``; the same kind of array as ``src_img``. Pixels of ``ignore_index``
            are translated without guidance.
        diffusion: a model of *target* images: diffusers pipeline, (unet, scheduler),
            guided-diffusion's (model, diffusion), or an object with the methods of
            :class:`sgg.DiffusionModel`.
        seg_model: a segmentation model, see :class:`sgg.Segmenter`; may be ``None`` without
            guidance.
        strength: n / T in (0, 1]: how far the image may move (paper: 0.6, second-hand).
        num_inference_steps: calls of the denoiser in all, spread over the n steps; ``None`` is 50
            with DDIM, and every step with DDPM (paper).
        sampler: ``"ddim"``, or ``"ddpm"``, ancestral (paper).
        eta: randomness of DDIM's steps, 0-1; an error with ``"ddpm"`` unless 0.
        guidance: ``"sgg"`` alternates (paper); ``"local"`` (LCG) or ``"global"`` (GSG) at every
            step; ``"none"`` is the plain diffusion translation.
        guidance_scale: factor on the gradient; not the classifier-free guidance that diffusers
            calls so. See ``settings.reduction`` for what it is a factor of.
        guidance_input: the segmenter sees the noisy ``"x_t"`` (paper) or the denoiser's
            ``"pred_x0"``.
        seg_normalization: (mean, std) of the segmenter's input, or ``None`` if it takes 0-1; see
            :class:`sgg.Segmenter`, whose instances have their own.
        ignore_index: the label of unlabelled pixels.
        settings: the finer choices of the guidance.
        tile_size: side or (height, width) in pixels of the tiles in which the denoiser sees
            larger images, blended at every step; ``None`` for whole images. ``"auto"`` is the
            size that the model was trained on if it has attention (diffusers'
            ``config.sample_size``, guided-diffusion's ``image_size``), else whole images. The
            next two are errors with ``None``, and do nothing where ``"auto"`` finds no size.
        tile_overlap: least overlap of neighbouring tiles in pixels; ``None`` is a quarter of the
            tiles' shorter side.
        tiles_per_batch: tiles that the denoiser is asked about at once, which fills a GPU; memory
            grows with it. It changes the image by rounding only.
        dtype: ``torch.bfloat16`` or ``torch.float16`` to run the models in autocast, with weights
            converted once per call and not at every step; ``None`` for their own precision,
            whatever the caller's autocast.
        channels_last: lay out the weights of 2-D convolutions so, which activations follow. It
            changes the image by rounding only; so does ``compile``.
        compile: ``True``, or a mode of ``torch.compile`` such as ``"max-autotune"``, to compile
            denoiser and segmenter. Each compiles once for every size and number of images that it
            sees, up to 64 of them, for a minute or more; the segmenter's batches are filled to
            powers of two. A denoiser that is differentiated gets no CUDA graphs.
        generator: decides the noise: it gives one seed per image, so a batch is its images one
            after the other; or one generator per image. Noise is drawn on the CPU, so it does not
            depend on the models' device. ``None`` is the same noise for every image and call:
            in a loop over images one pattern for all, so give each of them its own there.
        progress: show a progress bar.

    Returns:
        The translated image(s), with the kind, shape, dtype, device and range of ``src_img``.

    Raises:
        TypeError, ValueError: an argument of another kind, shape, dtype or range, a label beyond
            the segmenter's classes, or a diffusion model of a kind that is not supported.
        FloatingPointError: the sample became NaN, infinite or larger than 1,000; the message names
            the step.

    Example:
        >>> import sgg
        >>> model = sgg.CallableDiffusion(lambda x_t, t: torch.zeros_like(x_t), [0.9, 0.5])
        >>> image, label = np.zeros((4, 6, 3), np.uint8), np.ones((4, 6), np.uint8)
        >>> translated = translate(image, label, model, lambda x: x[:, :2], strength=1.0)
        >>> translated.shape, translated.dtype
        ((4, 6, 3), dtype('uint8'))

    Source: Peng et al., "Diffusion-based Image Translation with Label Guidance for Domain
    Adaptive Semantic Segmentation", ICCV 2023. That the unguided part is SDEdit's is our reading.
    """
    if dtype not in _PRECISIONS:
        raise ValueError(f"dtype: expected torch.bfloat16, torch.float16 or None, got {dtype}")
    options = TranslationOptions(
        strength=strength, num_inference_steps=num_inference_steps, sampler=sampler, eta=eta,
        guidance=guidance, guidance_scale=guidance_scale, guidance_input=guidance_input,
        settings=settings, tile_size=tile_size, tile_overlap=tile_overlap,
        tiles_per_batch=tiles_per_batch, dtype=_PRECISIONS[dtype],
        channels_last=channels_last, compile=compile,
    )  # fmt: skip
    given = generator if isinstance(generator, (list, tuple)) else [generator]
    if generator is not None and not all(isinstance(one, torch.Generator) for one in given):
        raise TypeError(
            f"generator: expected a torch.Generator, or one per image, got {describe(generator)}"
        )
    model = as_diffusion(diffusion)
    segmenter = None
    if seg_model is not None:
        segmenter = as_segmenter(seg_model, normalization=seg_normalization)
    elif options.guided:
        raise TypeError("seg_model: expected a segmentation model with guidance, got None")
    steps = reverse_timesteps(
        len(model.alphas_cumprod),
        strength,
        _DDIM_STEPS if num_inference_steps is None and sampler == "ddim" else num_inference_steps,
    )
    guide = segmenter if options.guided else None
    fast = accelerated(model, guide, dtype=dtype, channels_last=channels_last, compile=compile)
    with _own_context(model, segmenter, dtype), fast:
        pixels = to_batch(src_img, name="src_img", normalizable=False)
        labels = labels_to_batch(src_label, name="src_label")
        check_pair(src_img, src_label, names=("src_img", "src_label"))
        check_holds_ignore("src_label", src_label, ignore_index)
        size = pixels.shape[-2:]
        images, labels = _pad(
            pixels.to(model.device, torch.float32) / 127.5 - 1,
            labels.to(model.device),
            model.size_multiple,
            ignore_index,
        )
        with computing(images.device):
            x_0 = model.encode(images)
        model = tiled(
            model,
            images,
            x_0,
            tile_size=tile_size,
            tile_overlap=tile_overlap,
            tiles_per_batch=tiles_per_batch,
        )
        predict = _unguided(model)
        if guide is not None and guidance != "none":
            space = _label_space(guide, images, ignore_index)
            check_labels("src_label", src_label, space)
            predict = label_guidance(
                model,
                in_powers_of_two(guide) if compile else guide,
                labels,
                guidance=guidance,
                guidance_scale=guidance_scale,
                guidance_input=guidance_input,
                ignore_index=ignore_index,
                settings=settings,
            )
        draw_noise = _noise(generator, x_0)
        x_n = add_noise(x_0, draw_noise(), float(model.alphas_cumprod[steps[0]]))
        with _progress(predict, len(steps), progress) as reported:
            x_0 = reverse_process(
                x_n,
                steps,
                model.alphas_cumprod,
                reported,
                sampler=sampler,
                eta=eta,
                draw_noise=draw_noise,
            )
        with computing(x_0.device):
            translated = model.decode(x_0)[..., : size[0], : size[1]]
        if not bool(torch.isfinite(translated).all()):
            raise FloatingPointError(
                "sample: expected a finite image, got NaN or infinity from the decoder"
            )
        return _restore(translated, src_img)


def _unguided(model: DiffusionModel) -> Predict:
    return lambda x_t, t, to_go: (model.predict(x_t, t), None)


@contextmanager
def _own_context(
    model: DiffusionModel, segmenter: Segmenter | None, dtype: torch.dtype | None
) -> Iterator[None]:
    """Leave the caller's inference mode and autocast; enter our own autocast, if any."""
    kinds = {model.device.type} | (set() if segmenter is None else {segmenter.device.type})
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        for kind in kinds:
            if torch.amp.is_autocast_available(kind):
                stack.enter_context(torch.autocast(kind, dtype=dtype, enabled=dtype is not None))
        yield


def _label_space(segmenter: Segmenter, images: Tensor, ignore_index: int) -> LabelSpace:
    count = segmenter.count_classes(images)
    return LabelSpace(names=tuple(map(str, range(count))), ignore_index=ignore_index)


def _pad(images: Tensor, labels: Tensor, multiple: int, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Enlarge at the bottom and the right; what is added repeats the border and is unlabelled."""
    bottom, right = (-side % multiple for side in images.shape[-2:])
    images = F.pad(images, (0, right, 0, bottom), mode="replicate")
    return images, F.pad(labels, (0, right, 0, bottom), value=ignore_index)


def _noise(
    generator: torch.Generator | Sequence[torch.Generator] | None, like: Tensor
) -> Callable[[], Tensor]:
    """Standard normal noise, each image from a generator of its own, drawn on the CPU."""
    seeds = [0] * len(like)
    if generator is not None:
        each = [generator] * len(like) if isinstance(generator, torch.Generator) else generator
        if len(each) != len(like):
            raise ValueError(f"generator: expected {len(like)}, one per image, got {len(each)}")
        seeds = [int(torch.randint(2**62, (), generator=g, device=g.device)) for g in each]
    own = [torch.Generator().manual_seed(seed) for seed in seeds]

    def draw() -> Tensor:
        drawn = [torch.randn(like.shape[1:], generator=g, device="cpu") for g in own]
        return torch.stack(drawn).to(like)

    return draw


@contextmanager
def _progress(predict: Predict, total: int, shown: bool) -> Iterator[Predict]:
    if not shown:
        yield predict
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, desc="translate") as bar:

        def reported(x_t: Tensor, t: int, to_go: int) -> tuple[Prediction, Tensor | None]:
            found = predict(x_t, t, to_go)
            bar.update()
            return found

        yield reported


def _restore(images: Tensor, like: Map) -> Map:
    """Images (B, 3, H, W) in [-1, 1] as the caller passed theirs."""
    unit = ((images.float() + 1) / 2).clamp(0, 1)
    if isinstance(like, np.ndarray):
        array: Array = (unit[0] * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        return np.ascontiguousarray(array)
    if like.dtype == torch.uint8:
        unit = (unit * 255).round()
    return unit.reshape(like.shape).to(like.device, like.dtype)
