"""On a CUDA device, or one that seems to be there, as on the CPU up to rounding."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from progressive_world import SPACE, write_source
from seeming_gpu import NEEDS_GPU
from typer.testing import CliRunner

import sgg
from sgg.cli import app
from sgg.demo.models import SIZE, load_diffusion, load_segmenter, street_batch
from sgg.guided_steps import label_guidance

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


@NEEDS_GPU
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


MODELS = """
import torch
import progressive_world
import sgg

class Denoiser(torch.nn.Conv2d):
    def __init__(self):
        super().__init__(3, 3, 1, bias=False)
        with torch.no_grad():
            self.weight.copy_(0.5 * torch.eye(3)[:, :, None, None])

    def forward(self, x_t, t):
        return super().forward(x_t)

def diffusion():
    return sgg.CallableDiffusion(Denoiser(), [0.99, 0.9, 0.7, 0.5])

def segmenter():
    return progressive_world.segmenter(norm=True)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A data set in the current folder, and in a module models for it."""
    monkeypatch.chdir(tmp_path)
    write_source(tmp_path / "game", images=3)
    (tmp_path / "cuda_models.py").write_text(MODELS)
    (tmp_path / "classes.json").write_text(SPACE.to_json())
    yield tmp_path
    sys.modules.pop("cuda_models", None)


def command(name, *words, device):
    models = ("--segmenter", "cuda_models:segmenter", "--label-space", "classes.json")
    if name != "evaluate":
        models += ("--diffusion", "cuda_models:diffusion", "--steps", "2")
    done = CliRunner().invoke(app, [name, *words, *models, "--device", device])
    assert done.exit_code == 0, done.output


def images_in(folder):
    return np.stack([np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))])


def test_a_set_is_translated_and_measured(here):
    numbers = {}
    for device in ("cpu", "cuda"):
        command("translate", "game/images", "game/labels", device, device=device)
        command(
            "evaluate", f"{device}/images", f"{device}/labels", "--target", "game/images",
            "--json", f"{device}.json", device=device,
        )  # fmt: skip
        numbers[device] = json.loads((here / f"{device}.json").read_text())
    source, *found = (images_in(here / name / "images") for name in ("game", "cpu", "cuda"))
    assert np.abs(found[0] - source.astype(float)).mean() > 5
    assert np.abs(found[0] - found[1].astype(float)).mean() < 0.2
    assert numbers["cuda"]["mean_iou"] == pytest.approx(numbers["cpu"]["mean_iou"], abs=0.01)


def test_progressive_stages(here):
    for device in ("cpu", "cuda"):
        command(
            "progressive", "game/images", "game/labels", device, "--strengths", "0.4,0.8",
            "--set-finetune", "steps=3", "--set-finetune", "batch_size=2", device=device,
        )  # fmt: skip
    stages = sorted(path.name for path in (here / "cpu").glob("stage-*"))
    assert len(stages) == 2
    for stage in stages:
        images = [images_in(here / device / stage / "images") for device in ("cpu", "cuda")]
        assert np.abs(images[0] - images[1].astype(float)).mean() < 0.5
