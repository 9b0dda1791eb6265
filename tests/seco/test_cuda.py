"""On a CUDA device as on the CPU, but for a small share of pixels: sums round otherwise there.

Where there is none, on one that seems to be there.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from commands import run
from PIL import Image
from seeming_gpu import NEEDS_GPU
from torch import Tensor

import seco
from seco import ConnectivityCorrector, ModuleExtractor, PSASettings, SCCSettings, load_sam
from seco.common.device_time import DeviceTime
from seco.common.files import read_confidence, read_label, write_label
from seco.common.transfers import Carrier
from seco.demo import STREETS, street_scene
from seco.demo.segmenter import load_segmenter, predict
from seco.sam.tiny import PROPOSALS

pytestmark = [
    pytest.mark.usefixtures("gpu"),
    pytest.mark.filterwarnings("ignore::seco.NoNoiseFoundWarning"),  # so few images
]

SIZE = (96, 160)
SEEDS = (11, 12, 13)
QUICK = PSASettings(proposals=replace(PROPOSALS, points_per_side=12))
SHORT = SCCSettings(iterations=10, batch_size=8)


@cache
def scenes() -> tuple[Tensor, Tensor, Tensor]:
    """(B, 3, H, W) uint8 images, and what a segmenter of another domain makes of them."""
    images = torch.stack(
        [torch.from_numpy(street_scene(s, size=SIZE).image).permute(2, 0, 1) for s in SEEDS]
    ).contiguous()
    labels, confidences = predict(load_segmenter(), images.float() / 255)
    return images, torch.as_tensor(labels), torch.as_tensor(confidences)


@cache
def segmenter(device: str) -> seco.PromptableSegmenter:
    return load_sam("tiny", device=device)


def alike(found: Tensor, expected: Tensor, least: float = 0.98) -> bool:
    return float((found.cpu() == expected.cpu()).float().mean()) >= least


@pytest.mark.parametrize("outside", ["ignore", "keep"])
@pytest.mark.parametrize("method", ["psa", "alignment", "prompts"])
def test_refining_tensors_on_the_device(method, outside):
    images, labels, confidences = scenes()
    options = {"label_space": STREETS, "outside": outside,
               "settings": replace(QUICK, method=method)}  # fmt: skip
    expected = seco.refine_with_details(
        images, labels, segmenter("cpu"), confidence=confidences, **options
    )
    found = seco.refine_with_details(
        images.cuda(), labels.cuda(), segmenter("cuda"), confidence=confidences.cuda(), **options
    )
    assert found.labels.is_cuda
    assert found.scores.is_cuda
    assert alike(found.labels, expected.labels)
    assert float((found.scores.cpu() - expected.scores).abs().mean()) < 0.02
    counts = [[len(one.classes) for one in each.connectivities] for each in (found, expected)]
    assert np.abs(np.subtract(*counts)).max() <= 0.1 * max(counts[1]) + 1


def test_a_batch_in_several_passes():
    images, labels, _ = (value.cuda() for value in scenes())
    found = [
        seco.refine_pseudo_labels(
            images, labels, segmenter("cuda"), label_space=STREETS,
            settings=replace(QUICK, images_per_batch=bound),
        )
        for bound in (1, 2, 4)
    ]  # fmt: skip
    assert alike(found[0], found[1])
    assert alike(found[0], found[2])


@pytest.mark.parametrize("layers", [0, 1])
@pytest.mark.parametrize("images_on", ["cpu", "cuda"])
def test_finding_regions(images_on, layers):
    images, labels, _ = scenes()
    settings = replace(PROPOSALS, points_per_side=8, crop_n_layers=layers)
    expected = seco.propose_regions(images, segmenter("cpu"), settings=settings)
    found = seco.propose_regions(images.to(images_on), segmenter("cuda"), settings=settings)
    assert isinstance(found, list)
    for regions, other, label in zip(found, expected, labels, strict=True):
        assert regions.atoms.device.type == images_on
        assert len(other) > 1
        assert abs(len(regions) - len(other)) <= 0.1 * len(other) + 1
        votes = [
            seco.refine_pseudo_labels(None, label, regions=one.to("cpu"), label_space=STREETS)
            for one in (regions, other)
        ]
        assert alike(*votes, least=0.95)


def network() -> torch.nn.Module:
    """A frozen backbone with the same weights every time."""
    layer = torch.nn.utils.skip_init(torch.nn.Conv2d, 3, 16, 8, stride=8)
    generator = torch.Generator().manual_seed(0)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=generator)
    return layer


ENCODERS = {
    "sam": lambda device: {"encoder": segmenter(device)},
    "sam, crops": lambda device: {
        "encoder": seco.SegmenterExtractor(segmenter(device), crop_n_layers=1)
    },
    "module": lambda device: {"encoder": ModuleExtractor(network().to(device))},
    "small": lambda device: {"device": device},
}


@cache
def fitted(kind: str, device: str) -> ConnectivityCorrector:
    images, labels, _ = scenes()
    corrector = ConnectivityCorrector(STREETS, settings=SHORT, **ENCODERS[kind](device))
    return corrector.fit(list(zip(images, labels, strict=True)))


@pytest.mark.parametrize("labels_on", ["cpu", "cuda"])
@pytest.mark.parametrize("kind", ENCODERS)
def test_fitting_and_correcting(kind, labels_on):
    images, labels, _ = scenes()
    here, there = fitted(kind, "cpu"), fitted(kind, "cuda")
    losses = here.record.losses, there.record.losses.cpu()
    assert losses[0].shape == losses[1].shape
    # Training adds up what rounds otherwise; the smallest steps are taken together all the same.
    assert float((losses[0] - losses[1]).abs().median()) < 0.1
    expected = here.correct(images, labels)
    found = there.correct(images.to(labels_on), labels.to(labels_on))
    assert found.device.type == labels_on
    assert alike(found, expected, least=0.9)


@pytest.mark.parametrize("samples_on", ["cpu", "cuda"])
def test_samples_may_lie_anywhere(samples_on):
    images, labels, _ = scenes()
    corrector = ConnectivityCorrector(STREETS, segmenter("cuda"), settings=SHORT)
    corrector.fit(list(zip(images.to(samples_on), labels.to(samples_on), strict=True)))
    assert alike(corrector.correct(images, labels), fitted("sam", "cuda").correct(images, labels))


@pytest.mark.parametrize("labels_on", ["cpu", "cuda"])
@pytest.mark.parametrize("kind", ENCODERS)
def test_a_saved_corrector_is_loaded_to_the_device(kind, labels_on, tmp_path):
    """The same weights on both, so that there is no training between them."""
    images, labels, _ = scenes()
    fitted(kind, "cpu").save(tmp_path)
    loaded = ConnectivityCorrector.load(tmp_path, **ENCODERS[kind]("cuda"))
    expected = fitted(kind, "cpu").correct_with_details(images, labels)
    found = loaded.correct_with_details(images.to(labels_on), labels.to(labels_on))
    assert found.labels.device.type == labels_on
    assert alike(found.labels, expected.labels)
    assert float((found.scores.cpu() - expected.scores).abs().mean()) < 0.02
    loaded.save(tmp_path / "again")  # and back
    back = ConnectivityCorrector.load(tmp_path / "again", **ENCODERS[kind]("cpu"))
    assert torch.equal(back.correct(images, labels), expected.labels)


@pytest.mark.filterwarnings("ignore:corrector. was fitted to the connected")
@pytest.mark.parametrize("labels_on", ["cpu", "cuda"])
@pytest.mark.parametrize("corrector_on", ["cpu", "cuda"])
def test_refining_with_a_corrector(corrector_on, labels_on, tmp_path):
    images, labels, confidences = scenes()
    fitted("sam", "cpu").save(tmp_path)
    expected, found = (
        seco.refine_pseudo_labels(
            images.to(of_labels), labels.to(of_labels), segmenter(of_corrector),
            confidence=confidences.to(of_labels), label_space=STREETS, settings=QUICK,
            corrector=ConnectivityCorrector.load(tmp_path, encoder=segmenter(of_corrector)),
        )
        for of_labels, of_corrector in (("cpu", "cpu"), (labels_on, corrector_on))
    )  # fmt: skip
    assert found.device.type == labels_on
    assert alike(found, expected, least=0.95)


@pytest.fixture
def folders(tmp_path):
    images, labels, confidences = scenes()
    for kind in ("images", "labels", "confidence"):
        (tmp_path / kind).mkdir()
    for seed, image, label, confidence in zip(SEEDS, images, labels, confidences, strict=True):
        shown = image.permute(1, 2, 0).numpy()
        Image.fromarray(shown).save(tmp_path / f"images/{seed}.png")
        write_label(tmp_path / f"labels/{seed}.png", label.numpy(), STREETS)
        np.save(tmp_path / f"confidence/{seed}.npy", confidence.numpy())
    (tmp_path / "streets.json").write_text(STREETS.to_json())
    return tmp_path


def test_a_folder_job(folders):
    """Refined, fitted, and corrected at once by what was fitted; regions from the other device."""
    images, labels, space = (folders / name for name in ("images", "labels", "streets.json"))
    usual = ("--label-space", space, "--set", "points_per_side=8", "--outside", "keep",
             "--confidence", folders / "confidence")  # fmt: skip
    for device in ("cpu", "cuda"):
        out, on = folders / device, ("--device", device)
        saved = ("--save-scores", out / "scores", "--save-connectivities", out / "found")
        result = run("refine", images, labels, out / "psa", *usual, *saved, *on)
        assert result.exit_code == 0, result.output
    short = ("--set", "iterations=5", "--set", "batch_size=8", "--device", "cuda")
    result = run(
        "fit", images, folders / "cpu/psa", folders / "corrector", "--label-space", space,
        "--connectivities", folders / "cpu/found", *short,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    for device in ("cpu", "cuda"):
        both = ("--corrector", folders / "corrector", "--device", device)
        result = run("refine", images, labels, folders / device / "both", *usual, *both)
        assert result.exit_code == 0, result.output
    for seed in SEEDS:
        for part in ("psa", "both"):
            expected, found = (
                torch.from_numpy(read_label(folders / device / part / f"{seed}.png"))
                for device in ("cpu", "cuda")
            )
            assert alike(found, expected, least=0.95)
        expected, found = (
            read_confidence(folders / device / "scores" / f"{seed}.png")
            for device in ("cpu", "cuda")
        )
        assert np.abs(found - expected).mean() < 0.02


def test_a_folder_job_with_given_regions(folders):
    """Regions, images, labels and confidences come to the device while it computes."""
    images, labels = folders / "images", folders / "labels"
    usual = ("--label-space", folders / "streets.json", "--confidence", folders / "confidence")
    few = ("--set", "points_per_side=8")
    for device in ("cpu", "cuda"):
        regions, on = folders / device / "regions", ("--device", device)
        result = run("regions", images, regions, *few, *on)
        assert result.exit_code == 0, result.output
        given = ("--regions", folders / "cpu/regions")
        result = run("refine", images, labels, folders / device / "psa", *usual, *given, *on)
        assert result.exit_code == 0, result.output
        assert "models computed" in result.stdout
    for seed in SEEDS:
        expected, found = (
            torch.from_numpy(read_label(folders / device / "psa" / f"{seed}.png"))
            for device in ("cpu", "cuda")
        )
        assert alike(found, expected, least=0.95)
        counts = [
            len(seco.Regions.load(folders / device / "regions" / f"{seed}.npz"))
            for device in ("cpu", "cuda")
        ]
        assert abs(counts[0] - counts[1]) <= 0.1 * counts[0] + 1


def test_copies_beside_computing():
    carrier = Carrier(torch.device("cuda"))
    tensors = torch.arange(6).view(2, 3), torch.ones(2, dtype=torch.bool)
    for _ in range(20):  # memory of those before is given away again
        leaving = carrier.back(*(part.cuda() for part in tensors))
        there = carrier.there(*tensors).take()
        assert all(part.is_cuda for part in there)
        back = leaving.take()
        assert all(part.is_pinned() for part in back)
        for one, other, own in zip(there, back, tensors, strict=True):
            assert torch.equal(one.cpu(), own)
            assert torch.equal(other, own)


def test_copies_with_another_default_device():
    carrier = Carrier(torch.device("cuda"))
    with torch.device("cuda"):
        (back,) = carrier.back(torch.ones(2)).take()
    assert back.is_pinned()


@NEEDS_GPU
def test_copies_to_the_device_do_not_wait_behind_copies_from_it():
    carrier = Carrier(torch.device("cuda"))
    for _ in range(2):  # pinned memory is there then: to get some makes the host wait
        (placed,) = carrier.there(torch.ones(2)).take()
        carrier.back(placed).take()
    torch.cuda._sleep(2_000_000_000)  # cycles of the device, some second
    leaving = carrier.back(placed)
    there = carrier.there(torch.ones(2))
    there._done.synchronize()
    assert not leaving._done.query()
    leaving.take()


def test_what_models_compute_is_timed_on_the_device():
    meter = DeviceTime()
    with meter.measuring():
        for _ in range(3):
            segmenter("cuda").encode(scenes()[0])
    assert meter.seconds() > 0


def test_precision_of_the_encoder(folders):
    more = ("--label-space", folders / "streets.json", "--set", "points_per_side=8",
            "--outside", "keep", "--device", "cuda")  # fmt: skip
    for precision in ("float32", "bfloat16"):
        result = run(
            "refine", folders / "images", folders / "labels", folders / precision, *more,
            "--precision", precision,
        )  # fmt: skip
        assert result.exit_code == 0, result.output
    for seed in SEEDS:
        expected, found = (
            torch.from_numpy(read_label(folders / precision / f"{seed}.png"))
            for precision in ("float32", "bfloat16")
        )
        assert alike(found, expected, least=0.85)
