"""On a CUDA device: faster networks say what they say as they come, up to rounding."""

from __future__ import annotations

import pytest
import torch

import sgg
from sgg.demo.models import SIZE, load_diffusion, load_segmenter, street_batch
from sgg.guided_steps import label_guidance

NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="compiles for a CUDA device")

pytestmark = [
    pytest.mark.usefixtures("gpu"),
    pytest.mark.filterwarnings("ignore::UserWarning"),  # what the compiler advises
]


def translate(**options):
    from seco.demo import street_scene

    pytest.importorskip("diffusers")
    scenes = [street_scene(100_000 + k, size=SIZE, domain="game") for k in range(2)]
    images, labels = street_batch(scenes)
    unet, scheduler = load_diffusion()
    segmenter = load_segmenter()
    segmenter.model.cuda()
    options = {"num_inference_steps": 2, "strength": 0.3} | options
    found = sgg.translate(images, labels, (unet.cuda(), scheduler), segmenter, **options)
    return found.float()


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
@pytest.mark.parametrize(
    "options",
    [
        {"channels_last": True}, {"tile_size": (64, 64), "tiles_per_batch": 3},
        pytest.param({"compile": True}, marks=NEEDS_GPU),
        pytest.param({"compile": "reduce-overhead"}, marks=NEEDS_GPU),
        pytest.param({"channels_last": True, "compile": True}, marks=NEEDS_GPU),
    ],
)  # fmt: skip
def test_faster_is_the_same_up_to_rounding(options, dtype):
    tiles = {"tile_size": options["tile_size"]} if "tile_size" in options else {}
    plain = translate(dtype=dtype, **tiles)
    found = translate(dtype=dtype, **options)
    assert (found - plain).abs().mean() < (0.2 if dtype is None else 2)


@NEEDS_GPU
@pytest.mark.parametrize("mode", [True, "reduce-overhead"])
def test_compiled_through_the_denoiser(mode):
    # Few copies, so that the segmenter goes forward and backward several times between the
    # denoiser's forward and backward.
    settings = sgg.GuidanceSettings(differentiate_denoiser=True, max_copies=2)
    chosen = {"settings": settings}
    difference = translate(**chosen) - translate(compile=mode, **chosen)
    assert difference.abs().mean() < 0.2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_converted_once_give_the_image_of_autocast(dtype, monkeypatch):
    from contextlib import nullcontext

    found = translate(dtype=dtype)
    monkeypatch.setattr("sgg.translation.accelerated", lambda *args, **kwargs: nullcontext())
    assert (found - translate(dtype=dtype)).abs().mean() < 0.2  # sums of atomics differ by run


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a CUDA device knows whether it waits")
@pytest.mark.parametrize("guidance", ["local", "global"])
def test_a_guided_step_waits_for_nothing(guidance):
    labels = torch.arange(2 * 64 * 96, device="cuda").reshape(2, 64, 96) // 5 % 4
    network = torch.nn.Conv2d(3, 4, 3, padding=1).cuda()
    denoiser = torch.nn.Conv2d(3, 3, 3, padding=1).cuda()
    predict = label_guidance(
        sgg.CallableDiffusion(lambda x_t, steps: denoiser(x_t), [0.9, 0.5], device="cuda"),
        sgg.Segmenter(network),
        labels,
        guidance=guidance,
        settings=sgg.GuidanceSettings(max_copies=3, class_weights=(1.0, 2.0, 3.0, 4.0)),
    )
    x_t = torch.zeros(2, 3, 64, 96, device="cuda")
    predict(x_t, 1, 1)
    torch.cuda.set_sync_debug_mode("error")
    try:
        predict(x_t, 1, 1)
    finally:
        torch.cuda.set_sync_debug_mode("default")
