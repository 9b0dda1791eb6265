"""Commands one after the other: regions, refine, fit, correct, run."""

from __future__ import annotations

import json
import warnings
from contextlib import nullcontext

import pytest
import torch
from commands import run
from seco_command import NAMES, QUICK, contents, pair, refine

import seco
from seco import SCCSettings
from seco.cli.models import name_of_fitted, warn_of_tiny
from seco.cli.options import SamModel
from seco.sam.tiny import build_tiny_sam


@pytest.mark.parametrize("encoder", ["sam", "small"])
def test_the_whole_chain_of_commands(work, encoder):
    """Regions once, refined by vote, fitted, corrected, all with what the one before wrote."""
    images = work / "images"
    assert "3 done" in run("regions", images, work / "regions", *QUICK).stdout
    vote = ("--sam", "none", "--regions", work / "regions", "--device", "cpu")
    refined = run(
        "refine", images, work / "labels", work / "out", *vote,
        "--save-scores", work / "weights", "--score-format", "npy", "--list-root", work,
    )  # fmt: skip
    assert "3 refined, 0 skipped, 0 failed" in refined.stdout, refined.stderr
    assert "Refining labels: 3 of 3 images, 00:" in refined.stderr
    pairs = (work / "out/labeled.txt").read_text().splitlines()
    assert pairs[0] == "images/a/one.bmp out/a/one.png"
    assert len(pairs) == 3
    assert (work / "out/unlabeled.txt").read_text() == ""
    fitted = run(
        "fit", images, work / "out", work / "corrector", "--encoder", encoder,
        "--set", "iterations=3", "--device", "cpu",
    )  # fmt: skip
    assert "1 fitted" in fitted.stdout, fitted.stderr
    passes = ("Checking files", "Counting regions", "Drawing neighbours", "Measuring losses")
    assert all(f"{name}: 3 of 3 images, 00:" in fitted.stderr for name in passes)
    assert "Training: step 3 of 3, loss " in fitted.stderr
    kind = json.loads((work / "corrector/corrector.json").read_text())["encoder"]["kind"]
    assert kind == {"sam": "segmenter", "small": "small"}[encoder]
    corrected = run(
        "correct", images, work / "out", work / "corrector", work / "corrected",
        "--confidence", work / "weights", "--layout", "proda", "--device", "cpu",
    )  # fmt: skip
    assert "3 corrected, 0 skipped, 0 failed" in corrected.stdout, corrected.stderr
    names = [f"{name}{end}" for name in NAMES for end in (".png", "_conf.npy")]
    assert sorted(contents(work / "corrected")) == names
    told = pytest.warns(UserWarning, match="was fitted to the connected components of labels")
    with told if encoder == "small" else nullcontext():
        at_once = run(
            "refine", images, work / "labels", work / "both", *vote,
            "--corrector", work / "corrector", "--list", work / "out/labeled.txt",
        )  # fmt: skip
    if encoder == "sam":
        assert at_once.exit_code == 2
        assert "--corrector was fitted with a SAM" in at_once.stderr
        return
    assert at_once.exit_code == 1  # the paths in the list are within another folder
    assert "0 refined, 0 skipped, 3 failed" in at_once.stdout


def test_labels_are_refined_and_corrected_at_once(work):
    images, labels = work / "images", work / "labels"
    keep = ("--outside", "keep", *QUICK)
    parts, corrector = work / "parts", work / "corrector"
    saved = ("--save-connectivities", parts)
    assert run("refine", images, labels, work / "psa", *keep, *saved).exit_code == 0
    given = ("--connectivities", parts, "--device", "cpu")
    fit = ("fit", images, work / "psa", corrector, "--set", "iterations=3")
    fitted = run(*fit, "--feature-memory", "0.5", *given)
    assert fitted.exit_code == 0, fitted.output
    small = run(*fit, "--feature-memory", "0.5", *given, "--encoder", "small")
    assert small.exit_code == 2
    assert (
        "--feature-memory: expected only with another --encoder than small, got 0.5" in small.stderr
    )
    both = run("refine", images, labels, work / "both", *keep, "--corrector", corrector)
    assert "3 refined, 0 skipped, 0 failed" in both.stdout, both.stderr
    after = run("correct", images, work / "psa", corrector, work / "after", *given)
    assert "3 corrected, 0 skipped, 0 failed" in after.stdout, after.stderr
    assert contents(work / "after") == contents(work / "both")
    inside = run("correct", images, work / "psa", corrector, parts / "in", *given)
    assert inside.exit_code == 2
    assert "expected a place apart" in inside.stderr
    single = (images / "a/two.png", labels / "a/two.png", work / "two.png")
    one = run("refine", *single, *QUICK, *saved)
    assert one.exit_code == 2
    assert "--save-connectivities: expected only with folders" in one.stderr


def test_a_sam_that_looks_at_windows_too(work):
    images, labels = work / "images", work / "labels"
    keep = ("--outside", "keep", *QUICK)
    parts, psa, corrector = work / "parts", work / "psa", work / "corrector"
    refined = run("refine", images, labels, psa, *keep, "--save-connectivities", parts)
    assert refined.exit_code == 0, refined.output
    given = ("--connectivities", parts, "--device", "cpu")
    fit = ("fit", images, psa, corrector, "--set", "iterations=3", *given, "--encoder")
    for name in ("sam-crops:0", "sam-crops:5", "sam-crops:", "sam-crops:01", "sam-crop"):
        wrong = run(*fit, name)
        assert wrong.exit_code == 2
        assert "--encoder: expected sam" in wrong.stderr
    fitted = run(*fit, "sam-crops")
    assert fitted.exit_code == 0, fitted.output
    said = json.loads((corrector / "corrector.json").read_text())["encoder"]
    assert said["crop_n_layers"] == "1"
    assert name_of_fitted(corrector, None) == "sam-crops:1"
    assert "features were not made for photographs" in fitted.stderr
    # What is known of it from the corrector need not be said again.
    both = run("refine", images, labels, work / "both", *keep, "--corrector", corrector)
    assert "3 refined, 0 skipped, 0 failed" in both.stdout, both.stderr
    after = run("correct", images, psa, corrector, work / "after", *given)
    assert "3 corrected, 0 skipped, 0 failed" in after.stdout, after.stderr
    assert contents(work / "after") == contents(work / "both")
    assert "features were not made for photographs" in both.stderr
    none = run("refine", images, labels, work / "none", "--sam", "none", "--regions", parts,
               "--corrector", corrector, "--device", "cpu")  # fmt: skip
    assert none.exit_code == 2
    assert "--corrector was fitted with a SAM" in none.stderr
    two = run("fit", images, psa, work / "two", "--set", "iterations=1", *given,
              "--encoder", "sam-crops:2")  # fmt: skip
    assert two.exit_code == 0, two.output
    assert name_of_fitted(work / "two", None) == "sam-crops:2"
    sam = seco.load_sam("tiny")
    with pytest.raises(ValueError, match=r"encoder: .* other crop_n_layers \(1, None\)"):
        seco.ConnectivityCorrector.load(corrector, encoder=sam)
    same = seco.SegmenterExtractor(sam, crop_n_layers=1)
    assert seco.ConnectivityCorrector.load(corrector, encoder=same).record.iterations == 3


def test_a_corrector_of_another_sam_or_of_ones_own_encoder(work):
    space = seco.CITYSCAPES
    samples = [pair(0, (40, 64))[:2]]
    settings = SCCSettings(iterations=1)
    other = seco.load_sam(build_tiny_sam())
    encoders = {"other": other, "own": torch.nn.Conv2d(3, 4, 3)}
    for name, encoder in encoders.items():
        corrector = seco.ConnectivityCorrector(space, encoder, settings=settings)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", seco.NoNoiseFoundWarning)
            corrector.fit(samples).save(work / name)
    said = {"other": "got one with other weights", "own": "fitted with an encoder of your own"}
    # The kind of encoder is in the JSON; tensors, which may be many, are read once, to be used.
    for path in work.glob("o*/*.safetensors"):
        path.rename(path.with_suffix(".away"))
    assert name_of_fitted(work / "other", None) == "sam"
    for path in work.glob("o*/*.away"):
        path.rename(path.with_suffix(".safetensors"))
    for name, message in said.items():
        result = run(
            "correct", work / "images", work / "labels", work / name, work / "o", "--device", "cpu"
        )
        assert result.exit_code == 2
        assert message in result.stderr


def test_the_tiny_model_is_warned_of(work, capsys):
    said = refine(work).stderr
    assert "tiny SAM is for demos and tests; for work" in said
    fitted = ("fit", work / "images", work / "labels", work / "corrector", "--device", "cpu",
              "--set", "iterations=1")  # fmt: skip
    assert "features were not made for photographs" in run(*fitted).stderr
    small = ("--encoder", "small", "--overwrite")
    assert "tiny SAM" not in run(*fitted, *small).stderr
    warn_of_tiny(SamModel.tiny, first=False)
    warn_of_tiny(SamModel.vit_h, first=True)
    assert capsys.readouterr().err == ""
