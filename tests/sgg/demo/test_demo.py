"""The demo: its numbers are those of its images, its files the same every time."""

from __future__ import annotations

import json
import random

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import sgg.demo.demo
from seco.demo import STREETS
from seco.demo.scenes import street_scene
from sgg.cli import app
from sgg.demo import SIZE
from sgg.demo.demo import ARMS, OPTIONS, DemoResult, run_demo, write_demo
from sgg.demo.models import street_batch

QUICK = {**OPTIONS, "num_inference_steps": 2}
KINDS = ["source", *ARMS, "target"]


@pytest.fixture(scope="module")
def result():
    return run_demo([100_000, 100_001], options=QUICK)


def test_arms_differ_and_global_rng_is_left_alone(result):
    states = random.getstate(), torch.get_rng_state()
    again = run_demo([100_000, 100_001], options=QUICK)
    assert random.getstate() == states[0]
    assert torch.equal(torch.get_rng_state(), states[1])
    assert list(result.images) == list(result.seen) == list(result.distances) == KINDS
    for index, kind in enumerate(KINDS):
        assert result.images[kind].shape == (2, 3, *SIZE)
        assert torch.equal(result.images[kind], again.images[kind])
        for other in KINDS[:index]:
            assert not torch.equal(result.images[kind], result.images[other])
    scene = street_scene(100_001, size=SIZE, domain="game")
    assert (result.images["source"][1].permute(1, 2, 0).numpy() == scene.image).all()
    assert (result.labels[1].numpy() == scene.label).all()
    assert result.distances["source"] == pytest.approx((1, 1))


def test_numbers_against_hand_counted_labels():
    images, labels = street_batch([street_scene(100_000, size=SIZE, domain="game")])
    road, truck = STREETS.id_of("road"), STREETS.id_of("truck")
    labels[labels == truck] = STREETS.id_of("car")
    wrong = torch.where(labels == road, STREETS.id_of("sidewalk"), labels)
    seen = dict.fromkeys(KINDS, labels) | {"SGG": wrong}
    measured = DemoResult(
        (100_000,), QUICK, labels, dict.fromkeys(KINDS, images), seen,
        dict.fromkeys(KINDS, (0.5, 0.25)),
    )  # fmt: skip
    numbers = measured.numbers()
    assert numbers["seeds"] == [100_000]
    assert numbers["options"] == QUICK
    assert numbers["LCG"]["mean_iou"] == numbers["LCG"]["accuracy"] == 1
    assert numbers["LCG"]["iou"]["truck"] is None
    assert numbers["SGG"]["iou"]["road"] == 0
    assert numbers["SGG"]["accuracy"] == round(1 - (labels == road).float().mean().item(), 4)
    assert numbers["SGG"]["distance_colour"] == 0.25
    line = next(line for line in measured.table().splitlines() if line.startswith("| IoU road"))
    assert [cell.strip() for cell in line.split("|")[2:-1]] == ["100.0"] * 4 + ["0.0", "100.0"]
    assert "training" not in measured.summary()


def test_summary_admits_scenes_of_the_training(result):
    seen = DemoResult((3, 100_000), *list(vars(result).values())[1:])
    assert "2 street scenes, 1 of them from the bundled models' training:" in seen.summary()


def test_files_are_whole_and_the_same_every_time(result, tmp_path):
    first = {path.name: path.read_bytes() for path in write_demo(result, tmp_path)}
    again = {path.name: path.read_bytes() for path in write_demo(result, tmp_path)}
    assert sorted(first) == ["sgg.json", "sgg.md", "sgg.png"]
    assert again == first
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(first)
    assert json.loads(first["sgg.json"]) == result.numbers()
    assert result.table() in first["sgg.md"].decode()
    with Image.open(tmp_path / "sgg.png") as figure:
        assert figure.size[0] == 1600


def test_command_prints_table_files_and_summary(tmp_path, monkeypatch):
    asked = []

    def quick(seeds, **others):
        asked.append(list(seeds))
        return run_demo(seeds, options=QUICK, **others)

    monkeypatch.setattr(sgg.demo.demo, "run_demo", quick)
    out = tmp_path / "new" / "folder"
    shown = CliRunner().invoke(app, ["demo", "--out", str(out), "--images", "1", "--seed", "7"])
    assert shown.exit_code == 0, shown.output
    assert asked == [[7]]
    assert "| mean IoU" in shown.stdout
    for name in ("sgg.png", "sgg.md", "sgg.json"):
        assert f"Wrote {out / name}" in shown.stdout
    assert "1 street scene, 1 of them from the bundled models' training:" in shown.stdout


def test_refuses_no_seed_and_a_file_as_folder(tmp_path):
    with pytest.raises(ValueError, match="seeds: expected at least one, got none"):
        run_demo([])
    (tmp_path / "file").write_bytes(b"")
    shown = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "file")])
    assert shown.exit_code == 2
    assert shown.stderr.startswith("Error:")
