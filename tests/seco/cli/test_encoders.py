"""Correctors with a network of one's own, from the command line: ``--encoder MODULE:FUNCTION``."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
import torchvision
from commands import run
from PIL import Image
from torchvision.models import _api as downloads

import seco
from seco.common.files import read_label, write_label

MODELS = """
import torch
from torch import nn
from seco import ModuleExtractor


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())


def other():
    return network(1)


def tuned():
    return ModuleExtractor(network(), trained=True)


def half():
    return ModuleExtractor(network(), mean=(127.5,) * 3, std=(127.5,) * 3)


def number():
    return 3


def nothing():
    return None
"""
SIZE = (32, 48)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with networks, images, labels, and regions, so that no SAM is needed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_networks.py").write_text(MODELS)
    rng = np.random.default_rng(0)
    for kind in ("images", "labels", "regions"):
        (tmp_path / kind).mkdir()
    for index in range(4):
        truth = np.full(SIZE, 10, np.uint8)
        truth[SIZE[0] // 2 :] = 0
        truth[10:20, 8 * index : 8 * index + 12] = 13
        image = np.array(seco.CITYSCAPES.colours, np.uint8)[truth]
        noise = rng.integers(0, 30, image.shape, dtype=np.uint8)
        Image.fromarray(image // 2 + noise).save(tmp_path / f"images/{index}.png")
        label = np.where(rng.random(SIZE) < 0.05, 5, truth).astype(np.uint8)
        write_label(tmp_path / f"labels/{index}.png", label, seco.CITYSCAPES)
        regions = seco.Regions.from_label_map(torch.from_numpy(truth.astype(np.int64)) + 1)
        regions.save(tmp_path / f"regions/{index}.npz")
    yield tmp_path
    sys.modules.pop("own_networks", None)


def fit(function, *more, out="corrector"):
    quick = ("--set", "iterations=5", "--set", "min_area=1", "--device", "cpu")
    return run("fit", "images", "labels", out, "--encoder", f"own_networks:{function}",
               *quick, *more)  # fmt: skip


def own(function):
    return ("--encoder", f"own_networks:{function}", "--device", "cpu")


@pytest.mark.filterwarnings("ignore:corrector. was fitted to the connected")
@pytest.mark.parametrize("function", ["network", "half", "tuned"])
def test_every_command_says_what_the_functions_say(here, function):
    fitted = fit(function)
    assert "1 fitted" in fitted.stdout, fitted.stderr
    assert "tiny SAM" not in fitted.stderr
    import own_networks

    encoder = getattr(own_networks, function)()
    corrector = seco.ConnectivityCorrector.load("corrector", encoder=encoder)
    corrected = run("correct", "images", "labels", "corrector", "corrected", *own(function))
    assert "4 corrected, 0 skipped, 0 failed" in corrected.stdout, corrected.stderr
    assert "tiny SAM" not in corrected.stderr
    measured = run(
        "evaluate", "corrected", "labels", "--corrector", "corrector", "--images", "images",
        *own(function), "--json", "found.json",
    )  # fmt: skip
    assert measured.exit_code == 0, measured.output
    assert json.loads((here / "found.json").read_text())["images"] == 4
    with pytest.warns(UserWarning, match="connected components"):
        refined = run(
            "refine", "images", "labels", "refined", "--sam", "none", "--regions", "regions",
            "--corrector", "corrector", *own(function),
        )  # fmt: skip
    assert "4 refined, 0 skipped, 0 failed" in refined.stdout, refined.stderr
    for index in range(4):
        image = np.asarray(Image.open(f"images/{index}.png"))
        label = read_label(f"labels/{index}.png")
        assert (read_label(f"corrected/{index}.png") == corrector.correct(image, label)).all()
        at_once = seco.refine_pseudo_labels(
            image, label, None, label_space=seco.CITYSCAPES, corrector=corrector,
            regions=seco.Regions.load(f"regions/{index}.npz"),
        )  # fmt: skip
        assert (read_label(f"refined/{index}.png") == at_once).all()


def test_the_chain_and_its_report(here):
    done = run(
        "run", "images", "labels", "out", "--set", "points_per_side=3", "--set-scc", "iterations=3",
        *own("network"),
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    said = json.loads((here / "out/corrector/corrector.json").read_text())["encoder"]
    assert said["kind"] == "module"
    assert "module" in (here / "out/report.html").read_text()
    assert "its features were not made" not in done.stderr


def test_another_network_is_refused(here):
    assert fit("network").exit_code == 0
    for name in ("other", "half", "tuned"):
        result = run("correct", "images", "labels", "corrector", "out", *own(name))
        assert result.exit_code == 2
        assert "encoder" in result.stderr
        assert not (here / "out").exists()
    again = fit("other")
    assert again.exit_code == 2
    assert "models.encoder is" in again.stderr


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("large", "small, torchvision:NETWORK or MODULE:FUNCTION, got large"),
        ("own_networks:none", "expected a function none in own_networks, got None"),
        ("no_networks:network", "expected an importable module, got no no_networks"),
        ("own_networks:number", "--encoder own_networks:number: encoder: expected None, a torch"),
        ("own_networks:nothing", "--encoder own_networks:nothing: expected a network, got None"),
    ],
)
def test_what_is_no_network_is_refused(here, name, message):
    for command in ("fit", "run"):
        result = run(command, "images", "labels", "out", "--encoder", name, "--device", "cpu")
        assert result.exit_code == 2
        assert message in result.stderr
        assert not (here / "out").exists()


def test_one_is_needed_where_one_was_fitted_and_only_there(here):
    assert fit("network").exit_code == 0
    small = ("--encoder", "small", "--set", "iterations=1", "--device", "cpu")
    assert run("fit", "images", "labels", "small", *small).exit_code == 0
    vote = ("--sam", "none", "--regions", "regions")
    said = {
        "corrector": "(torchvision:NETWORK or MODULE:FUNCTION), got none",
        "small": "--encoder: expected only with a corrector that was fitted with one of your own",
    }
    for corrector, message in said.items():
        given = own("network") if corrector == "small" else ("--device", "cpu")
        of = ("--corrector", corrector)
        for result in (
            run("correct", "images", "labels", corrector, "out", *given),
            run("refine", "images", "labels", "out", *vote, *of, *given),
            run("evaluate", "labels", "labels", "--images", "images", *of, *given),
        ):
            assert result.exit_code == 2
            assert message in result.stderr
    for command in (("refine", "images", "labels", "out", *vote), ("evaluate", "labels", "labels")):
        result = run(*command, *own("network"))
        assert result.exit_code == 2
        assert "--encoder: expected only with --corrector" in result.stderr
    result = run("correct", "images", "labels", "corrector", "out", "--sam", "vit_h",
                 *own("network"))  # fmt: skip
    assert result.exit_code == 2
    assert "--sam: expected only with a corrector that was fitted with a SAM" in result.stderr
    assert not (here / "out").exists()


@pytest.mark.usefixtures("gpu")
def test_networks_are_put_on_the_device(here):
    for function in ("network", "tuned"):
        on_gpu = ("--encoder", f"own_networks:{function}", "--device", "cuda")
        fitted = run("fit", "images", "labels", function, "--set", "iterations=2", *on_gpu)
        assert "1 fitted" in fitted.stdout, fitted.stderr
        made = run("correct", "images", "labels", function, f"{function}-out", *on_gpu)
        assert "4 corrected" in made.stdout, made.stderr


def test_a_network_of_torchvision(here, monkeypatch):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = torchvision.models.resnet18().state_dict()
    monkeypatch.setattr(downloads, "load_state_dict_from_url", lambda *args, **options: state)
    chosen = ("--encoder", "torchvision:resnet18", "--device", "cpu")
    quick = ("--set", "iterations=3", "--set", "min_area=1")
    fitted = run("fit", "images", "labels", "corrector", *quick, *chosen)
    assert "1 fitted" in fitted.stdout, fitted.stderr
    corrected = run("correct", "images", "labels", "corrector", "corrected", *chosen)
    assert "4 corrected, 0 skipped, 0 failed" in corrected.stdout, corrected.stderr
    encoder = seco.torchvision_encoder("resnet18")
    corrector = seco.ConnectivityCorrector.load("corrector", encoder=encoder)
    image = np.asarray(Image.open("images/0.png"))
    expected = corrector.correct(image, read_label("labels/0.png"))
    assert (read_label("corrected/0.png") == expected).all()
    wrong = run("fit", "images", "labels", "other", "--encoder", "torchvision:resnet7")
    assert wrong.exit_code == 2
    assert "--encoder torchvision:resnet7: name: expected one of" in wrong.stderr
