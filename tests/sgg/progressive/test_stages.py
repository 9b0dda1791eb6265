"""Progressive translation: the loop, what it leaves alone, where it stops, what it refuses.

The models are formulas and a convolution, so that a whole run takes a second.
"""

from __future__ import annotations

import gc
import json
import math
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from gaussian_domain import Denoiser, target_domain
from progressive_world import (
    PLAIN,
    SPACE,
    STRENGTHS,
    Colour,
    results,
    run,
    segmenter,
)
from safetensors.torch import load_file

from seco.common.files import read_image, read_label
from sgg import Segmenter, translate
from sgg.folder import image_seed
from sgg.progressive import finetune_segmenter
from sgg.progressive.handing_on import HandedOn
from sgg.progressive.measures import Measures


def obvious_loop(root: Path, seed: int) -> list[tuple[dict[str, np.ndarray], dict, list[float]]]:
    """The method as it is told in a line, one image after the other."""
    names = sorted(path.stem for path in (root / "images").iterdir())
    labels = {name: read_label(root / f"labels/{name}.png") for name in names}
    model, found = Colour(), []
    for stage, strength in enumerate(STRENGTHS, start=1):
        images = {}
        for name in names:
            images[name] = translate(
                read_image(root / f"images/{name}.png"), labels[name], target_domain(),
                Segmenter(model, normalization=None), strength=strength, num_inference_steps=2,
                guidance_scale=0.5,
                generator=torch.Generator().manual_seed(image_seed(seed, name)),
            )  # fmt: skip
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, weight_decay=0.01)
        sequence, losses = [], []
        for epoch in range(9):
            sequence += list(np.random.default_rng([seed, stage, 1, epoch]).permutation(len(names)))
        for step in range(6):
            chosen = [names[index] for index in sequence[3 * step : 3 * step + 3]]
            x = torch.stack([torch.from_numpy(images[name]) for name in chosen])
            y = torch.stack([torch.from_numpy(labels[name]).long() for name in chosen])
            loss = F.cross_entropy(model(x.permute(0, 3, 1, 2) / 255), y, ignore_index=255)
            optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / 6) ** 0.9
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        found.append((images, {k: v.clone() for k, v in model.state_dict().items()}, losses))
    return found


def test_it_is_the_obvious_loop(source, tmp_path):
    made = run(source, tmp_path / "out", seed=4)
    for stage, (images, weights, losses) in zip(made.stages, obvious_loop(source, 4), strict=True):
        folder = tmp_path / f"out/stage-{stage.number}"
        assert {path.stem for path in (folder / "images").iterdir()} == set(images)
        for name, image in images.items():
            np.testing.assert_array_equal(read_image(folder / f"images/{name}.png"), image)
        saved = load_file(folder / "segmenter/segmenter.safetensors")
        for name, value in weights.items():
            torch.testing.assert_close(saved[name], value, rtol=1e-4, atol=1e-5)
        said = json.loads((folder / "segmenter/losses.json").read_text())
        assert said["steps"] == [1, 2, 3, 4, 5, 6]
        assert said["losses"] == pytest.approx(losses, rel=1e-4)
    last = load_file(made.weights)
    assert all(torch.equal(v, last[k]) for k, v in made.segmenter.model.state_dict().items())


def test_every_stage_is_a_set_that_trainers_load(source, tmp_path):
    made = run(source, tmp_path / "out")
    assert made.places.stages() == [1, 2]
    for stage in made.stages:
        folder = tmp_path / f"out/stage-{stage.number}"
        assert stage.layout.out == folder
        assert os.readlink(folder / "labels").endswith("game/labels")
        assert len(os.listdir(folder / "images")) == 5
        said = json.loads((folder / "provenance.json").read_text())
        assert said["settings"]["strength"] == STRENGTHS[stage.number - 1]
    numbers = json.loads((tmp_path / "out/progressive.json").read_text())
    assert numbers["data"] == "stage-2"
    assert numbers["segmenter"] == "stage-2/segmenter/segmenter.safetensors"
    assert [one["segmenter"] is not None for one in numbers["stages"]] == [True, True]
    assert (numbers["stopped"], numbers["failed"]) == ("", {})


def test_what_is_given_stays_as_it_is(source, tmp_path):
    given = segmenter()
    before = {name: value.clone() for name, value in given.model.state_dict().items()}
    torch.manual_seed(7)
    np.random.seed(7)
    state = torch.get_rng_state(), np.random.get_state()[1].copy()
    run(
        source,
        tmp_path / "out",
        seg_model=given,
        finetune=partial(finetune_segmenter, settings=PLAIN),
    )
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.array_equal(np.random.get_state()[1], state[1])
    assert all(torch.equal(before[k], v) for k, v in given.model.state_dict().items())
    assert not given.model.training


def test_only_the_last_segmenter_stays_in_memory(source, tmp_path):
    """On a GPU, those of all stages might not fit."""

    def alive():
        gc.collect()
        return sum(type(one) is Colour for one in gc.get_objects())

    given = segmenter()
    before = alive()
    made = run(source, tmp_path / "out", seg_model=given)
    assert len(made.good) == 2
    assert alive() == before + 1


def test_it_stops_before_the_stage_that_is_too_far(source, tmp_path, monkeypatch):
    out = tmp_path / "out"
    free = run(source, tmp_path / "free")
    bound = (free.stages[0].measures.consistency + free.stages[1].measures.consistency) / 2
    assert free.stages[0].measures.consistency > bound
    made = run(source, out, min_consistency=bound)
    assert [stage.handed_on is not None for stage in made.stages] == [True, False]
    assert made.stopped.startswith("stage 2 (strength 0.8) is left out: its consistency of")
    assert made.weights == out / "stage-1/segmenter/segmenter.safetensors"
    assert not (out / "stage-2/segmenter").exists()
    numbers = json.loads((out / "progressive.json").read_text())
    assert (numbers["data"], numbers["stopped"]) == ("stage-1", made.stopped)
    on = run(source, out, min_consistency=bound / 2)  # with another bound it goes on
    assert (on.stopped, len(on.good)) == ("", 2)
    assert results(out) == results(tmp_path / "free")


def test_it_may_stop_before_the_first_stage(source, tmp_path):
    given = segmenter()
    made = run(source, tmp_path / "out", seg_model=given, min_consistency=1.0)
    assert (made.good, made.weights, len(made.stages)) == ((), None, 1)
    assert made.segmenter is given


def test_the_oracle_measures_and_decides_nothing(source, tmp_path):
    def blind(x):
        return torch.cat([torch.ones_like(x[:, :1]), torch.zeros_like(x)], 1)

    plain = run(source, tmp_path / "plain", min_consistency=0.1)
    made = run(
        source, tmp_path / "out", min_consistency=0.1, target=source / "images",
        oracle=Segmenter(blind, normalization=None),
    )  # fmt: skip
    assert made.stopped == ""
    for one, other in zip(made.stages, plain.stages, strict=True):
        assert one.measures.guide == other.measures.guide
        assert one.measures.oracle["mean_iou"] < 0.2
        assert one.measures.distance["colour"] > 0
    assert made.source.distance == {"colour": 0.0, "logits": 0.0}
    for path in (tmp_path / "plain/stage-2/images").iterdir():
        assert (tmp_path / "out/stage-2/images" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"strengths": ()}, TypeError, "strengths: expected numbers"),
        ({"strengths": (0.5, 0.5)}, ValueError, "strengths: expected them to grow"),
        ({"strengths": (0.5, 1.5)}, ValueError, "strengths: expected a number in"),
        ({"min_consistency": 40}, ValueError, "min_consistency: expected a number in"),
        ({"collapse": -1}, ValueError, "collapse: expected a number in"),
        ({"seg_model": lambda x: x}, TypeError, "seg_model: expected a torch.nn.Module"),
        ({"seg_model": torch.nn.Conv2d(3, 2, 1)}, ValueError, "expected 4 classes"),
        ({"oracle": torch.nn.Conv2d(3, 2, 1)}, ValueError, "expected 4 classes"),
        ({"target": Path("nowhere")}, FileNotFoundError, "nowhere"),
        ({"seed": -1}, ValueError, "seed: expected an integer >= 0"),
        ({"min_pixels": -1}, ValueError, "min_pixels: expected an integer >= 0"),
        ({"images_per_batch": 0}, ValueError, "images_per_batch: expected an integer >= 1"),
        ({"checkpoint_every": 0}, ValueError, "checkpoint_every: expected an integer >= 1"),
        ({"labels_by": "move"}, ValueError, "labels_by: expected one of"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_before_the_work(source, tmp_path, wrong, error, said):
    denoiser = Denoiser()
    with pytest.raises(error, match=said):
        run(source, tmp_path / "out", diffusion=target_domain(denoiser), **wrong)
    assert denoiser.calls == 0
    assert not (tmp_path / "out").exists()


def test_the_classes_are_those_of_the_labels(source):
    assert SPACE.num_classes == segmenter().count_classes(torch.zeros(1, 3, *(8, 8)))


def test_a_set_without_labels_has_no_consistency_instead_of_none_at_all():
    unlabelled = Measures({"mean_iou": None}, None, {}, {})
    assert math.isnan(unlabelled.consistency)
    assert not unlabelled.consistency < 0.9
    assert Measures({"mean_iou": 0.0}, None, {}, {}).consistency == 0
    assert math.isnan(HandedOn(Path("weights"), [], {"mean_iou": None}).consistency)
