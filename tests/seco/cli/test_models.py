"""What the commands make of --sam and its options, and of options that would do nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from commands import run
from PIL import Image
from torch import nn

import seco
from seco.cli.models import sam_named
from seco.cli.options import PrecisionName, SamChoice, SamModel
from seco.common.files import read_label, write_label
from seco.common.jobs import Manifest
from seco.common.modules import fingerprint
from seco.demo import STREETS, street_scene

COMMANDS = ("regions", "refine", "fit", "correct", "run", "evaluate")


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Call a command on one small image, where no more than the head of a corrector is there."""
    monkeypatch.chdir(tmp_path)
    for kind in ("images", "labels", "truth"):
        (tmp_path / kind).mkdir()
        channels = (3,) if kind == "images" else ()
        Image.fromarray(np.zeros((8, 12, *channels), np.uint8)).save(tmp_path / kind / "a.png")
    for kind in ("segmenter", "small"):
        (tmp_path / kind).mkdir()
        said = {"kind": "seco corrector", "version": 2, "encoder": {"kind": kind}}
        (tmp_path / kind / "corrector.json").write_text(json.dumps(said))
    (tmp_path / "regions").mkdir()

    def call(command, *more, corrector="segmenter"):
        places = {
            "regions": ("images", "out"),
            "correct": ("images", "labels", corrector, "out"),
            "evaluate": ("labels", "truth", "--corrector", corrector, "--images", "images"),
        }.get(command, ("images", "labels", "out"))
        return run(command, *places, "--device", "cpu", *more)

    return call


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_sets_the_precision_and_hashes_the_weights_once(call, command, monkeypatch):
    hashed = []

    class Encoder(nn.Linear):
        def to(self, dtype):
            raise OSError(f"reached with {dtype}")

    class Loaded:
        def __init__(self):
            self.model = nn.Module()
            self.model.image_encoder = Encoder(1, 1)

    def load(name, *, checkpoint, device):
        loaded = Loaded()
        hashed.append(fingerprint(loaded.model))
        nn.init.constant_(loaded.model.image_encoder.weight, 9.0)
        hashed.append(fingerprint(loaded.model))
        return loaded

    monkeypatch.setattr(seco, "load_sam", load)
    result = call(command, "--precision", "bfloat16")
    assert result.exit_code == 2
    assert "reached with torch.bfloat16" in result.stderr
    assert len(set(hashed)) == 1


def test_the_encoder_alone_is_in_half_precision_and_says_so():
    half = sam_named(SamChoice(SamModel.tiny, precision=PrecisionName.bfloat16), "cpu")
    assert half.describe()["image_encoder"] == "in torch.bfloat16"
    assert {p.dtype for p in half.model.image_encoder.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in half.model.mask_decoder.parameters()} == {torch.float32}
    whole = sam_named(SamChoice(SamModel.tiny), "cpu")
    assert "image_encoder" not in whole.describe()
    assert {p.dtype for p in whole.model.parameters()} == {torch.float32}


def test_what_bfloat16_made_is_not_mixed_with_the_rest(call, tmp_path):
    quick = ("--set", "points_per_side=1")
    made = call("regions", *quick, "--precision", "bfloat16")
    assert made.exit_code == 0, made.stderr
    said = json.loads((tmp_path / "out/manifest.json").read_text())["models"]["sam"]
    assert "image_encoder in torch.bfloat16" in said
    refused = call("regions", *quick)
    assert refused.exit_code == 2
    assert "image_encoder in torch.bfloat16" in refused.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_accelerates(call, command, monkeypatch):
    asked = []

    def stand_in(sam, **options):
        asked.append(options)
        raise TypeError("sam: expected another encoder")

    monkeypatch.setattr(seco, "accelerate_sam", stand_in)
    for more in (), ("--precision", "bfloat16", "--compile"):
        result = call(command, "--accelerate", *more)
        assert result.exit_code == 2
        assert "--accelerate: sam: expected another encoder" in result.stderr
    assert asked == [
        {"dtype": torch.float32, "compile": False},
        {"dtype": torch.bfloat16, "compile": True},
    ]


def test_an_encoder_that_cannot_be_accelerated_is_refused(call, monkeypatch, tmp_path):
    tiny = seco.load_sam("tiny")
    tiny.model.image_encoder.blocks[0].register_forward_hook(lambda *given: None)
    monkeypatch.setattr(seco, "load_sam", lambda name, **options: tiny)
    result = call("regions", "--accelerate")
    assert result.exit_code == 2
    assert "--accelerate: sam.image_encoder.blocks.0: expected a plain Block" in result.stderr
    assert not (tmp_path / "out").exists()


def test_accelerated_labels_are_the_same(call, tmp_path):
    scene = street_scene(3, size=(64, 96))
    Image.fromarray(scene.image).save(tmp_path / "images/a.png")
    write_label(tmp_path / "labels/a.png", scene.label, STREETS)
    (tmp_path / "streets.json").write_text(STREETS.to_json())
    usual = ("--label-space", "streets.json", "--set", "points_per_side=4")
    assert call("refine", *usual).exit_code == 0
    expected = (tmp_path / "out/a.png").read_bytes()
    assert len(np.unique(read_label(tmp_path / "out/a.png"))) > 2
    gone_on = call("refine", *usual, "--accelerate")
    assert "0 refined, 1 skipped" in gone_on.stdout
    anew = call("refine", *usual, "--accelerate", "--overwrite")
    assert "1 refined, 0 skipped" in anew.stdout
    assert (tmp_path / "out/a.png").read_bytes() == expected


def test_what_accelerated_bfloat16_made_is_not_mixed_with_the_rest(call, tmp_path):
    half = ("--set", "points_per_side=1", "--precision", "bfloat16")
    made = call("regions", *half, "--accelerate")
    assert made.exit_code == 0, made.stderr
    said = json.loads((tmp_path / "out/manifest.json").read_text())["models"]["sam"]
    assert said.endswith("image_encoder in torch.bfloat16, accelerated")
    for other in (half, (*half[:2], "--accelerate")):
        refused = call("regions", *other)
        assert refused.exit_code == 2
        assert "image_encoder in torch.bfloat16, accelerated" in refused.stderr


@pytest.mark.parametrize(
    ("command", "before", "wanted"),
    [
        ("refine", "--sam none --regions regions", "another --sam than none"),
        ("correct", "", "a corrector that was fitted with a SAM"),
        ("evaluate", "", "a corrector that was fitted with a SAM"),
        ("fit", "--encoder small", "--encoder sam or sam-crops"),
    ],
)
def test_accelerating_nothing_is_refused(call, command, before, wanted):
    for option in ("--accelerate", "--compile"):
        result = call(command, *before.split(), option, corrector="small")
        assert result.exit_code == 2, result.output
        assert f"{option}: expected only with {wanted}, got True" in result.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_only_what_is_accelerated_is_compiled(call, command):
    result = call(command, "--compile")
    assert result.exit_code == 2
    assert "--compile: expected only with --accelerate, got True" in result.stderr


VOTE = "--sam none --regions regions"
LIST, SCORES = ("--min-labelled", "0.5", "--list-root"), ("--score-format", "npy", "--save-scores")


@pytest.mark.parametrize(
    ("command", "before", "option", "value", "wanted"),
    [
        ("refine", VOTE, "--checkpoint", "x.pth", "another --sam than none"),
        ("refine", VOTE, "--precision", "bfloat16", "another --sam than none"),
        ("refine", VOTE, *LIST),
        ("refine", VOTE, *SCORES),
        ("run", "", *LIST),
        ("run", "", "--truth-naming", "plain", "--truth"),
        ("correct", "", *LIST),
        ("correct", "", *SCORES),
        *(
            (command, "", option, value, "a corrector that was fitted with a SAM")
            for command in ("correct", "evaluate")
            for option, value in (("--sam", "vit_h"), ("--checkpoint", "x.pth"))
        ),
        ("correct", "", "--precision", "bfloat16", "a corrector that was fitted with a SAM"),
        ("fit", "--encoder small", "--sam", "vit_h", "--encoder sam or sam-crops"),
        ("fit", "--encoder small", "--checkpoint", "x.pth", "--encoder sam or sam-crops"),
        ("fit", "--encoder small", "--precision", "bfloat16", "--encoder sam or sam-crops"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    call, tmp_path, command, before, option, value, wanted
):
    result = call(command, *before.split(), option, value, corrector="small")
    assert result.exit_code == 2, result.output
    assert f"{option}: expected only with {wanted}, got {value}" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("--set", "points_per_side=64"), "--set points_per_side=64: expected no setting of"),
        (("--method", "prompts"), "--regions: expected none with method prompts"),
    ],
)
def test_given_regions_leave_no_way_of_finding_them(call, tmp_path, option, said):
    result = call("refine", "--regions", "regions", *option)
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert not (tmp_path / "out").exists()


def test_regions_of_another_model_want_sam_to_be_said(call, tmp_path):
    quick = ("--set", "points_per_side=1")
    found = run("regions", "images", "regions", "--device", "cpu", *quick)
    assert found.exit_code == 0, found.stderr
    assert call("refine", "--regions", "regions").exit_code == 0
    path = tmp_path / "regions/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["models"]["sam"] = "kind segmenter, weights 123"
    path.write_text(json.dumps(manifest))
    (journal,) = (tmp_path / "regions/.job").glob("done-*.jsonl")
    before, after = manifest["fingerprint"], Manifest.read(tmp_path / "regions").fingerprint
    journal.write_text(journal.read_text().replace(before, after))
    unsaid = call("refine", "--regions", "regions", "--overwrite")
    assert unsaid.exit_code == 2
    assert "--regions regions: its regions were found by another model than tiny" in unsaid.stderr
    assert "as in --sam vit_h --checkpoint FILE, or --sam none" in unsaid.stderr
    for more in ("--sam tiny", "--sam none", "--method alignment"):
        result = call("refine", "--regions", "regions", "--overwrite", *more.split())
        assert result.exit_code == 0, result.stderr
    chain = call("run", "--regions", "regions", *quick)
    assert chain.exit_code == 2
    assert "was kind segmenter, weights 123; expected the model" in chain.stderr
    path.unlink()  # regions of elsewhere: nothing is known of them
    assert call("refine", "--regions", "regions", "--overwrite").exit_code == 0


def test_a_sam_that_judges_nothing_is_not_measured_with(call):
    result = run("evaluate", "labels", "truth", "--sam", "vit_h")
    assert result.exit_code == 2
    assert "--sam: expected only with --corrector, got vit_h" in result.stderr


def test_overwrite_says_that_it_does_not_go_on():
    for command in ("regions", "refine", "fit", "correct"):
        said = " ".join(run(command, "--help").stdout.split())
        assert "does not go on after a stop" in said
    said = " ".join(run("run", "--help").stdout.split())
    assert "what would be the same now stays. Such a run goes on after a stop" in said
