"""The default fine-tuning: what a step sees, and what the weights become."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from progressive_world import PLAIN, SIZE, SPACE, Colour, segmenter, write_source
from torch import nn

from seco.common.files import read_image, read_label
from seco.common.inputs import find_inputs
from sgg import Segmenter
from sgg.progressive import FinetuneSettings, FinetuneTask, finetune_segmenter
from sgg.progressive.crops import Crop, crop_size, crops_of_step, read_crop


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_source(tmp_path_factory.mktemp("set") / "game")


@pytest.fixture
def task(root, tmp_path):
    inputs = find_inputs(root / "images", root / "labels")
    return FinetuneTask(
        stage=1, strength=0.5, inputs=inputs, source=inputs, folder=root, label_space=SPACE,
        state=tmp_path,
    )  # fmt: skip


def shown(task, settings, count=40, size=SIZE):
    """Crops of the first image, each of another place."""
    return [read_crop(Crop(0, position, 0), size, task, settings) for position in range(count)]


def test_every_epoch_shows_every_image_once(task):
    settings = FinetuneSettings(batch_size=3)
    found = [crop for step in range(5) for crop in crops_of_step(step, task, settings)]
    assert [crop.epoch for crop in found] == [0] * 5 + [1] * 5 + [2] * 5
    for epoch in range(3):
        assert sorted(p.index for p in found if p.epoch == epoch) == [0, 1, 2, 3, 4]
    orders = [tuple(p.index for p in found if p.epoch == epoch) for epoch in range(3)]
    assert len(set(orders)) == 3
    assert crops_of_step(3, task, settings) == found[9:12]
    assert crops_of_step(0, replace(task, seed=1), settings) != found[:3]
    assert crops_of_step(0, replace(task, stage=2), settings) != found[:3]


def test_crops_are_windows_of_image_and_label(task, root):
    image, label = read_image(root / "images/00001.png"), read_label(root / "labels/00001.png")
    plain = replace(PLAIN, crop_height=5, crop_width=7)
    assert crop_size(task, plain) == (5, 7)
    corners = set()
    for crop, target in shown(task, plain, size=(5, 7)):
        pixels = ((crop + 1) * 127.5).round().permute(1, 2, 0).numpy().astype(np.uint8)
        windows = [
            (top, left)
            for top in range(SIZE[0] - 4)
            for left in range(SIZE[1] - 6)
            if np.array_equal(image[top : top + 5, left : left + 7], pixels)
            and np.array_equal(label[top : top + 5, left : left + 7], target)
        ]
        assert len(windows) == 1
        corners.add(windows[0])
    assert len(corners) > 20
    assert {top for top, _ in corners} == set(range(SIZE[0] - 4))


def test_every_other_crop_is_mirrored_with_its_label(task, root):
    image, label = read_image(root / "images/00001.png"), read_label(root / "labels/00001.png")
    mirrored = 0
    for crop, target in shown(task, replace(PLAIN, flip=True), 60):
        flipped = not np.array_equal(target, label)
        mirrored += flipped
        expected = (image[:, ::-1] if flipped else image) / 127.5 - 1
        np.testing.assert_allclose(crop.permute(1, 2, 0), expected, atol=1e-6)
        np.testing.assert_array_equal(target, label[:, ::-1] if flipped else label)
    assert 18 <= mirrored <= 42


def test_what_an_image_lacks_is_grey_and_unlabelled(task, root):
    (crop, target), *_ = shown(task, PLAIN, 1, size=(15, 22))
    assert (crop.shape, target.shape) == ((3, 15, 22), (15, 22))
    assert (target[12:] == 255).all()
    assert (target[:, 20:] == 255).all()
    assert (crop[:, 12:] == 0).all()
    np.testing.assert_array_equal(target[:12, :20], read_label(root / "labels/00001.png"))


def test_colours_are_jittered_and_labels_are_not(task, root):
    label = read_label(root / "labels/00001.png")
    plain = shown(task, PLAIN, 1)[0][0]
    seen = shown(task, replace(PLAIN, jitter=0.5), 20)
    assert all(np.array_equal(target, label) for _, target in seen)
    assert all(float(crop.min()) >= -1 and float(crop.max()) <= 1 for crop, _ in seen)
    means = [float(crop.mean()) for crop, _ in seen]
    assert min(means) < float(plain.mean()) - 0.1
    assert max(means) > float(plain.mean()) + 0.1
    spreads = [float(crop.std(0).mean()) for crop, _ in seen]  # between the colours
    assert max(spreads) > 1.3 * min(spreads)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_source_images_are_mixed_in(task, tmp_path, share):
    other = write_source(tmp_path / "other")
    for path in (other / "images").iterdir():
        Image.new("RGB", SIZE[::-1], (255, 0, 0)).save(path)
    beside = replace(task, source=find_inputs(other / "images", other / "labels"))
    crops = [crop for crop, _ in shown(beside, replace(PLAIN, source_share=share), 100)]
    plain = sum(bool((crop[0] == 1).all()) for crop in crops) / 100
    assert plain == pytest.approx(share, abs=0.12)


def trained(task, settings, **options):
    given = segmenter(**options)
    losses = finetune_segmenter(given, task, settings=settings)
    return given.model, losses


def test_it_learns(task):
    model, losses = trained(task, replace(PLAIN, steps=60, batch_size=5))
    assert [step for step, _ in losses] == list(range(1, 61))
    assert losses[-1][1] < 0.5 * losses[0][1]
    assert not model.training


def test_unlabelled_pixels_do_not_count(task, tmp_path):
    root = write_source(tmp_path / "game")
    for number, path in enumerate(sorted((root / "labels").iterdir())):
        label = read_label(path)
        label[4:] = 255
        if number:
            label[:] = 255
        Image.fromarray(label).save(path)
    few = replace(task, inputs=find_inputs(root / "images", root / "labels"))
    _, losses = trained(few, replace(PLAIN, batch_size=5, steps=1))
    image, label = read_image(root / "images/00001.png"), read_label(root / "labels/00001.png")
    logits = Colour()(torch.from_numpy(image).permute(2, 0, 1)[None] / 255)
    known = label != 255
    expected = -logits.log_softmax(1)[0].permute(1, 2, 0)[known][
        torch.arange(known.sum()), torch.from_numpy(label[known]).long()
    ]  # fmt: skip
    assert losses[0][1] == pytest.approx(expected.mean().item(), rel=1e-5)


def test_nothing_labelled_moves_nothing(task, tmp_path):
    root = write_source(tmp_path / "game")
    for path in (root / "labels").iterdir():
        Image.new("L", SIZE[::-1], 255).save(path)
    none = replace(task, inputs=find_inputs(root / "images", root / "labels"))
    model, losses = trained(none, replace(PLAIN, weight_decay=0.0))
    assert [loss for _, loss in losses] == [0.0] * 6
    assert torch.equal(model.look.weight, Colour().look.weight)


@pytest.mark.parametrize("decay", ["poly", "cosine", "none"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_and_its_rates(task, decay, momentum):
    settings = replace(
        PLAIN, optimizer="sgd", momentum=momentum, decay=decay, batch_size=5, weight_decay=0.0
    )
    model, _ = trained(task, settings)
    shares = {
        "poly": lambda done: (1 - done) ** 0.9,
        "cosine": lambda done: np.cos(np.pi * done) / 2 + 0.5,
        "none": lambda done: 1.0,
    }
    twin, speed = Colour(), 0.0
    crops = shown(task, PLAIN, 1)
    crops = [read_crop(Crop(0, k, k), SIZE, task, PLAIN) for k in range(5)]
    images, labels = (torch.stack(part) for part in zip(*crops, strict=True))
    for step in range(6):
        loss = nn.functional.cross_entropy(twin((images + 1) / 2), labels, ignore_index=255)
        (gradient,) = torch.autograd.grad(loss, [twin.look.weight], retain_graph=True)
        (other,) = torch.autograd.grad(loss, [twin.look.bias])
        flat = torch.cat([gradient.flatten(), other])
        speed = momentum * speed + flat
        with torch.no_grad():
            moved = 0.05 * shares[decay](step / 6) * speed
            twin.look.weight -= moved[:-4].view_as(twin.look.weight)
            twin.look.bias -= moved[-4:]
    torch.testing.assert_close(model.look.weight, twin.look.weight, rtol=1e-4, atol=1e-5)


def test_what_a_model_draws_follows_from_the_seed(task, tmp_path):
    made = []
    for number, seed in enumerate((0, 0, 1)):
        torch.manual_seed(number)
        before = torch.get_rng_state()
        (tmp_path / f"{number}").mkdir()
        own = replace(task, seed=seed, state=tmp_path / f"{number}")
        given = segmenter(dropout=0.5)
        state = torch.get_rng_state()
        finetune_segmenter(given, own, settings=replace(PLAIN, batch_size=5))
        assert torch.equal(torch.get_rng_state(), state)
        assert not torch.equal(state, before)  # drawn by the model's making, not here
        made.append(given.model.look.weight)
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    assert not torch.equal(made[0], trained(task, replace(PLAIN, batch_size=5))[0].look.weight)


@pytest.mark.parametrize("train_norm", [True, False])
def test_batch_normalisation_learns_or_stays(task, train_norm):
    model, _ = trained(task, replace(PLAIN, train_norm=train_norm), norm=True)
    moved = [
        not torch.equal(getattr(model.norm, name), getattr(nn.BatchNorm2d(4), name))
        for name in ("running_mean", "running_var", "weight", "bias")
    ]
    assert moved == [train_norm] * 4
    assert not torch.equal(model.look.weight, Colour().look.weight)


@pytest.mark.parametrize("frozen", ["bias", "all"])
def test_weights_that_require_no_gradient_stay_unless_none_does(task, frozen):
    given = segmenter()
    given.model.look.bias.requires_grad = False
    given.model.look.weight.requires_grad = frozen == "bias"
    finetune_segmenter(given, task, settings=PLAIN)
    moved = [
        not torch.equal(getattr(given.model.look, name), getattr(Colour().look, name))
        for name in ("weight", "bias")
    ]
    assert moved == [True, frozen == "all"]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("options", [{}, {"optimizer": "sgd"}, {"train_norm": False}])
def test_a_stopped_training_ends_with_the_same_bits(task, tmp_path, monkeypatch, options):
    settings = replace(PLAIN, steps=9, flip=True, jitter=0.3, crop_height=8, crop_width=8)
    settings = replace(settings, **options)
    task = replace(task, checkpoint_every=2)
    (tmp_path / "other").mkdir()
    model = {"norm": True, "dropout": 0.2}
    whole, losses = trained(replace(task, state=tmp_path / "other"), settings, **model)
    module = sys.modules["sgg.progressive.training"]
    original = module._add_loss
    for call in (1, 4, 4):  # before anything was written, then after steps 2 and 4
        left = iter(range(call - 1, -2, -1))

        def stopping(*given, left=left):
            if next(left) == 0:
                raise Killed
            return original(*given)

        with monkeypatch.context() as patched:
            patched.setattr(module, "_add_loss", stopping)
            with pytest.raises(Killed):
                trained(task, settings, **model)
    again, found = trained(task, settings, **model)
    assert found == losses
    for name, value in whole.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)


def test_the_state_of_another_training_is_refused(task):
    trained(task, PLAIN)
    with pytest.raises(ValueError, match="expected the state of this training, got another"):
        trained(task, replace(PLAIN, steps=8))


def test_few_images_are_held_at_a_time(task, root, monkeypatch):
    """What was read ahead is bounded, however many steps there are."""
    module = sys.modules["sgg.progressive.training"]
    read, original = [], module.read_crop
    monkeypatch.setattr(module, "read_crop", lambda *given: read.append(1) or original(*given))
    add = module._add_loss
    ahead = []

    def counted(segmenter, crops, task):
        ahead.append(len(read) - 2 * len(ahead))
        return add(segmenter, crops, task)

    monkeypatch.setattr(module, "_add_loss", counted)
    trained(task, replace(PLAIN, steps=60, batch_size=2))
    assert max(ahead) <= 2 * 12


def test_logits_of_another_size_are_enlarged(task):
    class Coarse(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Colour()

        def forward(self, x):
            return {"out": nn.functional.avg_pool2d(self.inner(x), 4)}

    given = Segmenter(Coarse(), normalization=None)
    losses = finetune_segmenter(given, task, settings=replace(PLAIN, steps=20))
    assert losses[-1][1] < losses[0][1]


@pytest.mark.parametrize(
    ("model", "error", "said"),
    [
        (lambda x: x, TypeError, "expected a torch.nn.Module with weights"),
        (nn.Identity(), TypeError, "expected a torch.nn.Module with weights"),
        (nn.Conv2d(3, 4, 1).half(), ValueError, "single precision to train, got torch.float16"),
    ],
)
def test_what_cannot_be_trained_is_refused(task, model, error, said):
    with pytest.raises(error, match=said):
        finetune_segmenter(Segmenter(model, normalization=None), task, settings=PLAIN)


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0}, {"batch_size": 0}, {"optimizer": "lion"}, {"learning_rate": 0},
        {"decay": "step"}, {"weight_decay": -1}, {"momentum": 2}, {"crop_height": 0},
        {"crop_width": 0}, {"flip": 2}, {"jitter": 1.5}, {"source_share": -0.1},
        {"train_norm": "no"},
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=rf"{next(iter(wrong))}: expected .* got"):
        FinetuneSettings(**wrong)


def test_a_missing_image_is_said(task):
    broken = replace(task.inputs.files[2], image=Path("nowhere.png"))
    files = (*task.inputs.files[:2], broken, *task.inputs.files[3:])
    with pytest.raises(FileNotFoundError, match="nowhere"):
        trained(replace(task, inputs=replace(task.inputs, files=files)), PLAIN)
