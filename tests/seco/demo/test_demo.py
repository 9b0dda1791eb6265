"""The demo: its numbers are those of its labels, its files the same every time."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from seco import ProposalSettings, PSASettings
from seco.cli import app
from seco.demo import STREETS
from seco.demo.demo import DemoResult, run_demo, write_demo
from seco.demo.scenes import street_scene

SIZE = (64, 128)
QUICK = PSASettings(proposals=ProposalSettings(points_per_side=4))


@pytest.fixture(scope="module")
def result():
    return run_demo([100_000, 100_001], size=SIZE, settings=QUICK)


def test_labels_are_of_the_scenes_and_global_rng_is_left_alone(result):
    states = random.getstate(), torch.random.get_rng_state()
    again = run_demo([100_000, 100_001], size=SIZE, settings=QUICK)
    assert random.getstate() == states[0]
    assert (torch.random.get_rng_state() == states[1]).all()
    for one, two in zip(result.refined, again.refined, strict=True):
        assert (one == two).all()
        assert one.shape == SIZE
    assert (result.scenes[1].image == street_scene(100_001, size=SIZE).image).all()


def test_numbers_against_hand_counted_labels():
    scene = street_scene(100_000, size=SIZE)
    no_truck = np.where(scene.label == STREETS.id_of("truck"), STREETS.id_of("car"), scene.label)
    scene = replace(scene, label=no_truck)
    wrong = np.where(scene.label == STREETS.id_of("road"), 255, scene.label)
    measured = DemoResult((100_000,), (scene,), (wrong,), (scene.label,))
    numbers = measured.numbers()
    present = set(np.unique(scene.label).tolist())
    assert numbers["seeds"] == [100_000]
    assert numbers["size"] == list(SIZE)
    assert numbers["refined"]["mean_iou"] == 1
    assert numbers["refined"]["coverage"] == 1
    assert numbers["raw"]["accuracy"] == 1
    assert numbers["raw"]["iou"]["road"] == 0
    assert numbers["raw"]["mean_iou"] == round((len(present) - 1) / len(present), 4)
    share = (scene.label == STREETS.id_of("road")).mean()
    assert numbers["raw"]["coverage"] == round(1 - share, 4)
    assert numbers["raw"]["iou"]["truck"] is None
    assert "| truck           |      – |      – |      – |" in measured.table()
    for index, name in enumerate(STREETS.names):
        assert (numbers["refined"]["iou"][name] is None) == (index not in present)
    line = next(line for line in measured.table().splitlines() if line.startswith("| road"))
    assert line.split("|")[2:5] == ["    0.0 ", "  100.0 ", " +100.0 "]
    assert "training" not in measured.summary()


def test_summary_admits_scenes_of_the_training():
    scene = street_scene(3, size=SIZE)
    seen = DemoResult((3,), (scene,), (scene.label,), (scene.label,))
    assert "1 street scene, 1 of them from the bundled models' training" in seen.summary()


def test_files_are_whole_and_the_same_every_time(result, tmp_path):
    first = {path.name: path.read_bytes() for path in write_demo(result, tmp_path)}
    again = {path.name: path.read_bytes() for path in write_demo(result, tmp_path)}
    assert sorted(first) == ["demo.json", "demo.md", "demo.png"]
    assert again == first
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(first)
    assert json.loads(first["demo.json"]) == result.numbers()
    assert result.table() in first["demo.md"].decode()
    with Image.open(tmp_path / "demo.png") as figure:
        assert figure.size[0] == 1400


def test_command_prints_table_files_and_summary(tmp_path):
    out = tmp_path / "new" / "folder"
    shown = CliRunner().invoke(app, ["demo", "--out", str(out), "--images", "1", "--seed", "7"])
    assert shown.exit_code == 0, shown.output
    assert "| **mean IoU**" in shown.stdout
    for name in ("demo.png", "demo.md", "demo.json"):
        assert f"Wrote {out / name}" in shown.stdout
        assert (out / name).stat().st_size > 0
    assert "1 street scene, 1 of them from the bundled models' training: mean" in shown.stdout


def test_refuses_no_seed_and_a_file_as_folder(tmp_path):
    with pytest.raises(ValueError, match="seeds: expected at least one, got none"):
        run_demo([])
    (tmp_path / "file").write_bytes(b"")
    shown = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "file")])
    assert shown.exit_code == 2
    assert shown.stderr.startswith("Error:")
