"""The bundled tiny SAM: what it is, that it loads anywhere, and that it sees something."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from importlib.resources import files

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam

from seco.demo.scenes import street_scene
from seco.sam.tiny import build_tiny_sam, load_tiny_sam


@pytest.fixture(scope="module")
def sam() -> Sam:
    return load_tiny_sam()


def rng_states() -> tuple[object, bytes, bytes]:
    _, keys, *_ = np.random.get_state()
    return random.getstate(), keys.tobytes(), bytes(torch.get_rng_state().numpy())


def test_is_segment_anything_itself(sam: Sam) -> None:
    assert type(sam) is Sam
    assert type(sam.image_encoder) is ImageEncoderViT
    assert type(sam.prompt_encoder) is PromptEncoder
    assert type(sam.mask_decoder) is MaskDecoder


def test_ready_to_use(sam: Sam) -> None:
    assert not any(module.training for module in sam.modules())
    tensors = [*sam.parameters(), *sam.buffers()]
    assert {t.dtype for t in tensors} == {torch.float32}
    assert {t.device.type for t in tensors} == {"cpu"}
    assert all(bool(t.isfinite().all()) for t in tensors)
    reference = build_tiny_sam()
    assert torch.equal(sam.pixel_mean, reference.pixel_mean)
    assert torch.equal(sam.pixel_std, reference.pixel_std)


def test_loads_to_the_cpu_whatever_the_default_device() -> None:
    with torch.device("meta"):
        sam = load_tiny_sam()
    tensors = {**sam.state_dict(), "mean": sam.pixel_mean, "std": sam.pixel_std}
    assert {t.device.type for t in tensors.values()} == {"cpu"}


def test_file_is_small_half_precision() -> None:
    from safetensors.torch import load

    data = files("seco.sam").joinpath("weights/tiny_sam.safetensors").read_bytes()
    assert len(data) <= 6_000_000
    state = load(data)
    assert {value.dtype for value in state.values()} == {torch.float16}
    assert state.keys() == build_tiny_sam().state_dict().keys()


def test_loads_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("tried to reach the network")

    monkeypatch.setattr(socket, "socket", refuse)
    load_tiny_sam()


@pytest.mark.parametrize("make", [build_tiny_sam, load_tiny_sam])
def test_global_rng_untouched(make: Callable[[], Sam]) -> None:
    before = rng_states()
    make()
    assert rng_states() == before


def test_a_gpu_s_generators_are_untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = build_tiny_sam().state_dict()

    def refuse(seed: int) -> None:
        raise AssertionError("seeded")

    monkeypatch.setattr(torch.cuda, "manual_seed_all", refuse)
    with torch.device("meta"):  # as for one of "cuda"
        again = build_tiny_sam().state_dict()
    assert all(torch.equal(again[name], value) for name, value in weights.items())


def test_random_weights_are_the_same_every_time() -> None:
    first = build_tiny_sam().state_dict()
    torch.rand(3)
    second = build_tiny_sam().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_box_prompts_beat_the_box(sam: Sam) -> None:
    """Tight boxes of what covers 1 to 70 % of four unseen scenes; small things it does not see."""
    predictor = SamPredictor(sam)
    ours, box_itself = [], []
    for seed in range(300_000, 300_004):
        scene = street_scene(seed, size=(256, 512), domain="camera" if seed % 2 else "game")
        label, instances = np.asarray(scene.label), np.asarray(scene.instances)
        predictor.set_image(np.asarray(scene.image))
        things = [instances == value for value in np.unique(instances[instances > 0])]
        stuff = [(label == value) & (instances == 0) for value in np.unique(label)]
        for truth in things + stuff:
            if not 0.01 <= truth.mean() <= 0.7:
                continue
            y, x = np.nonzero(truth)
            x0, x1, y0, y1 = x.min(), x.max() + 1, y.min(), y.max() + 1
            found = predictor.predict(box=np.array([x0, y0, x1, y1]), multimask_output=False)[0][0]
            ours.append((found & truth).sum() / (found | truth).sum())
            box_itself.append(truth.sum() / ((y1 - y0) * (x1 - x0)))
    assert len(ours) >= 10
    assert np.mean(ours) > np.mean(box_itself) + 0.02
