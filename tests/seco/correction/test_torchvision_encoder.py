"""Features of torchvision's networks, against their layers called one by one."""

from __future__ import annotations

import re
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from torchvision.models import _api as downloads

import seco
from seco.sam.inputs import IMAGENET_MEAN, IMAGENET_STD


def resnet(seed: int = 5) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return torchvision.models.resnet18().eval()


@pytest.fixture
def downloaded(monkeypatch):
    """What torchvision would download."""
    state = resnet().state_dict()
    asked = []

    def load(url, *args, **options):
        asked.append(url)
        return state

    monkeypatch.setattr(downloads, "load_state_dict_from_url", load)
    return asked


def layers_of(network: torch.nn.Module, image: torch.Tensor) -> list[torch.Tensor]:
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    with torch.no_grad():
        x = ((image.float() - mean) / std)[None]
        x = network.maxpool(network.relu(network.bn1(network.conv1(x))))
        stages = []
        for layer in (network.layer1, network.layer2, network.layer3, network.layer4):
            x = layer(x)
            stages.append(x[0])
    return stages[1:]


def test_the_maps_are_those_of_the_networks_stages(downloaded):
    image = torch.randint(0, 256, (3, 70, 90), dtype=torch.uint8)
    found = seco.torchvision_encoder("resnet18")(image)
    for level, expected in zip(found, layers_of(resnet(), image), strict=True):
        torch.testing.assert_close(level.values, expected)
        assert level.extent == tuple(expected.shape[1:])
    (url,) = downloaded
    assert "resnet18" in url


def test_weights_may_lie_in_a_file_or_not_be_there(tmp_path, downloaded):
    torch.save(resnet(1).state_dict(), tmp_path / "mine.pth")
    image = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
    for path in (tmp_path / "mine.pth", str(tmp_path / "mine.pth")):
        found = seco.torchvision_encoder("resnet18", weights=path)(image)
        torch.testing.assert_close(found[2].values, layers_of(resnet(1), image)[2])
    torch.rand(3)  # a state of the caller's own
    before = torch.get_rng_state()
    free = seco.torchvision_encoder("resnet18", weights="IMAGENET1K_V1")
    assert downloaded
    assert seco.torchvision_encoder("resnet18", weights=None).describe() != free.describe()
    assert (torch.get_rng_state() == before).all()


def test_a_gpu_s_generators_are_untouched(monkeypatch):
    expected = seco.torchvision_encoder("mobilenet_v3_small", weights=None).describe()

    def refuse(seed):
        raise AssertionError("seeded")

    monkeypatch.setattr(torch.cuda, "manual_seed_all", refuse)
    with torch.device("meta"):  # as for one of "cuda"
        found = seco.torchvision_encoder("mobilenet_v3_small", weights=None)
    assert found.describe() == expected


@pytest.mark.parametrize(
    "name",
    ["vgg11", "densenet121", "efficientnet_b0", "regnet_y_400mf", "mobilenet_v3_small",
     "shufflenet_v2_x0_5"],
)  # fmt: skip
def test_other_networks_have_three_strides_at_every_size(name):
    encoder = seco.torchvision_encoder(name, weights=None)
    for height, width in ((64, 96), (224, 224)):
        maps = encoder(torch.zeros(3, height, width))
        sizes = [tuple(level.values.shape[1:]) for level in maps]
        assert sizes == [(height // s, width // s) for s in (8, 16, 32)]


def test_a_corrector_takes_it_and_trains_it_along(downloaded, tmp_path):
    rng = np.random.default_rng(0)
    samples = []
    for _ in range(3):
        label = np.repeat(rng.integers(0, 3, (4, 4)), 16, 0).repeat(16, 1)
        samples.append((np.stack([80 * label] * 3, 2).astype(np.uint8), label))
    settings = seco.SCCSettings(iterations=3, min_area=1)
    for trained in (False, True):
        encoder = seco.torchvision_encoder("resnet18", trained=trained)
        corrector = seco.ConnectivityCorrector(seco.MEDICAL, encoder, settings=settings)
        known = [(image, label % 2) for image, label in samples]
        corrector.fit(known)
        corrector.save(tmp_path / str(trained))
        again = seco.ConnectivityCorrector.load(
            tmp_path / str(trained),
            encoder=seco.torchvision_encoder("resnet18", trained=trained),
        )
        image, label = known[0]
        assert (again.correct(image, label) == corrector.correct(image, label)).all()


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("resnet7", {}, "name: expected one of torchvision.models.list_models(), got 'resnet7'"),
        ("deeplabv3_resnet50", {}, "got 'deeplabv3_resnet50'"),
        ("resnet18", {"weights": "BEST"}, "weights: expected one of IMAGENET1K_V1, DEFAULT or a "),
        ("swin_t", {"weights": None}, "feature maps at strides 8, 16 and 32, got swin_t with"),
        ("vit_b_16", {"weights": None}, "expected a network for images of any size"),
    ],
)
def test_what_cannot_be_is_said(name, options, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        seco.torchvision_encoder(name, **options)


def test_nothing_is_downloaded_of_what_cannot_serve(downloaded):
    with pytest.raises(ValueError, match="feature maps at strides"):
        seco.torchvision_encoder("swin_t")
    assert not downloaded


def test_files_that_are_no_weights_of_the_network_are_said(tmp_path):
    torch.save({"other": torch.zeros(2)}, tmp_path / "other.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    (tmp_path / "text.pth").write_text("not weights")
    (tmp_path / "empty.pth").touch()
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(ValueError, match=f"{path.name}: not a state dict of resnet18"):
            seco.torchvision_encoder("resnet18", weights=path)


def test_without_a_connection_it_is_said_what_to_do(monkeypatch):
    def fail(*args, **options):
        raise URLError("no route to host")

    monkeypatch.setattr(downloads, "load_state_dict_from_url", fail)
    with pytest.raises(OSError, match=r"resnet18: its weights could not .* weights=PATH"):
        seco.torchvision_encoder("resnet18")
