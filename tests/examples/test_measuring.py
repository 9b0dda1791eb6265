"""What measures corrections: injected noise is what it says, figures are, and the commands run."""

from __future__ import annotations

import json
import sys

import measure_scc
import numpy as np
import pytest
from measuring.correcting import flipped
from measuring.correction_figures import connectivity_figures, mean_and_std
from measuring.refined import Refined
from scipy.stats import chisquare

from seco.demo import STREETS, street_scene
from seco.evaluation import TrueConnectivities
from seco.evaluation.connectivities import DROPPED

SIZE = (64, 96)


def scene(seed: int) -> Refined:
    made = street_scene(seed, size=SIZE)
    confidence = np.ones(SIZE, np.float32)
    return Refined(str(seed), "streets", made.image, made.label, confidence, made.label, {})


def test_flips_are_of_other_classes_evenly():
    rng, share, counts = np.random.default_rng(0), 0.4, np.zeros(2, int)
    drawn = np.zeros(STREETS.num_classes, int)
    for seed in range(12):
        found = flipped(scene(seed), share, STREETS, rng)
        ids, classes = found.regions.ids.numpy(), found.regions.classes.numpy()
        assert np.array_equal(found.label[ids > 0], classes[ids[ids > 0] - 1])
        assert (found.label[ids == 0] == STREETS.ignore_index).all()
        for number in range(1, len(classes) + 1):
            (true,) = np.unique(found.truth[ids == number])
            counts += 1, classes[number - 1] != true
            drawn[(classes[number - 1] - int(true)) % len(drawn)] += 1
    assert counts[1] / counts[0] == pytest.approx(share, abs=0.06)
    assert chisquare(drawn[1:]).pvalue > 0.01  # every other class as often


def test_figures_by_regions_and_by_area():
    """Three right regions and two wrong ones, one of which is too small to count as a region."""
    found = TrueConnectivities(
        before=np.array([0, 1, 1, 2, 2]),
        after=np.array([0, 1, DROPPED, 0, 2]),
        true=np.array([0, 1, 1, 0, 1]),
        losses=np.array([0.1, 0.2, 3.0, 2.0, 0.3]),
        noise_probability=np.array([0.0, 0.0, 0.9, 0.8, 0.1]),
        areas=np.array([100, 50, 50, 20, 5]),
    )
    figures = connectivity_figures(found, 0.5)
    assert figures["regions"] == 4
    assert figures["noise rate"] == 25
    assert figures["noise rate (area)"] == pytest.approx(100 * 25 / 225)
    assert figures["AUROC of loss"] == pytest.approx(2 / 3)
    assert figures["noisy corrected"] == 100
    assert figures["noisy corrected (area)"] == pytest.approx(80)
    assert figures["clean dropped"] == pytest.approx(100 / 3)
    assert figures["clean harmed"] == 0


def test_over_seeds():
    assert mean_and_std([{"a": 1.0}, {"a": 2.0}, {"a": 6.0}]) == {"a": {"mean": 3, "std": 2.6458}}
    assert mean_and_std([{"a": 1.0}]) == {"a": {"mean": 1, "std": 0}}


@pytest.mark.parametrize(
    ("data", "more", "groups"),
    [
        ("streets", ("--crop-layers", "1"), ["streets", "streets, true labels with flips"]),
        ("openset", ("--held", "car"), ["car"]),
    ],
)
def test_the_command(tmp_path, monkeypatch, capsys, data, more, groups):
    out = tmp_path / "found.json"
    monkeypatch.setattr(sys, "argv", [
        "measure_scc.py", data, "--images", "2", "--seeds", "0", "--variants", "SCC",
        "--set", "iterations=2", *more, "--cache", str(tmp_path / "cache"), "--out", str(out),
    ])  # fmt: skip
    measure_scc.main()
    assert "| labels |" in capsys.readouterr().out
    found = json.loads(out.read_text())
    assert list(found["results"]) == groups
    assert found["images"] == 2
    assert found["crop_layers"] == (1 if "--crop-layers" in more else 0)
    kept = sorted((tmp_path / "cache/streets").glob("*.npz"))
    assert len(kept) == 2
    # What is kept is taken, and gives the same.
    written = [path.stat().st_mtime_ns for path in kept]
    measure_scc.main()
    assert [path.stat().st_mtime_ns for path in kept] == written
    assert json.loads(out.read_text())["results"] == found["results"]


def test_windows_are_seen_only_by_a_sam(monkeypatch, capsys, tmp_path):
    """And they change what is measured."""
    argv = [
        "measure_scc.py", "streets", "--images", "2", "--seeds", "0", "--variants", "SCC",
        "--set", "iterations=2", "--only", "raw", "--cache", str(tmp_path / "cache"),
    ]  # fmt: skip
    found = []
    for layers in ("0", "1"):
        out = tmp_path / f"{layers}.json"
        monkeypatch.setattr(sys, "argv", [*argv, "--crop-layers", layers, "--out", str(out)])
        measure_scc.main()
        found.append(json.loads(out.read_text())["results"]["streets"])
    assert found[0]["raw"] == found[1]["raw"]
    assert found[0]["raw + SCC"] != found[1]["raw + SCC"]
    monkeypatch.setattr(sys, "argv", [*argv, "--crop-layers", "1", "--encoder", "small"])
    with pytest.raises(SystemExit):
        measure_scc.main()
    assert "--crop-layers: only with --encoder sam" in capsys.readouterr().err
