"""Progressive translation: the loop, and whatever happens on the way.

The models are formulas and a convolution, so that a whole run takes a second.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import progressive_world
import pytest
import torch
import torch.nn.functional as F
from gaussian_domain import SCHEDULE, Denoiser, target_domain
from PIL import Image
from progressive_world import (
    OPTIONS,
    PLAIN,
    SPACE,
    STRENGTHS,
    Colour,
    results,
    run,
    segmenter,
    write_source,
)
from rendezvous import start_together
from safetensors.torch import load_file

from seco.common.files import read_image, read_label
from seco.common.jobs import JobOptions
from seco.common.modules import fingerprint
from sgg import CallableDiffusion, Segmenter, translate
from sgg.folder import image_seed
from sgg.progressive import FinetuningDiverged, finetune_segmenter, write_report
from sgg.progressive.handing_on import describe_finetune

# Of processes that import what the tests import.
ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join(map(str, (Path(progressive_world.__file__).parent, Path.cwd()))),
    "OMP_NUM_THREADS": "1",
}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_source(tmp_path_factory.mktemp("progressive") / "game")


@pytest.fixture(scope="module")
def undisturbed(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    run(source, out)
    return results(out)


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


class Stopped(Exception):
    """In the place of a kill, within one process."""


def stop_in(monkeypatch, name: str, call: int) -> None:
    """Raise in one of the calls of a function of the package."""
    module, _, function = name.rpartition(".")
    original, calls = getattr(sys.modules[module], function), iter(range(1, 10**6))

    def stopping(*args, **options):
        if next(calls) == call:
            raise Stopped
        return original(*args, **options)

    monkeypatch.setattr(name, stopping)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("sgg.folder.translate.translate", 2),  # within stage 1's translation
        ("sgg.progressive.measures.evaluate_folder", 1),  # measuring the source
        ("sgg.progressive.measures.evaluate_folder", 2),
        ("sgg.progressive.training._add_loss", 1),  # before the first writing of the state
        ("sgg.progressive.training._add_loss", 4),  # after it
        ("sgg.progressive.handing_on.evaluate_folder", 1),  # after the training
        ("sgg.progressive.handing_on.write_bytes", 3),  # between two of its files
        ("sgg.folder.translate.translate", 8),  # stage 2
        ("sgg.progressive.training._add_loss", 11),
        ("sgg.progressive.stages._write_numbers", 1),
    ],
)
def test_a_run_that_was_stopped_goes_on(source, tmp_path, monkeypatch, undisturbed, name, call):
    with monkeypatch.context() as patched:
        stop_in(patched, name, call)
        with pytest.raises(Stopped):
            run(source, tmp_path / "out")
    run(source, tmp_path / "out")
    assert results(tmp_path / "out") == undisturbed


def test_what_is_finished_is_not_done_again(source, tmp_path, monkeypatch):
    run(source, tmp_path / "out")
    before = results(tmp_path / "out")
    for name in ("folder.translate.translate", "progressive.training._add_loss",
                 "progressive.measures.evaluate_folder",
                 "progressive.handing_on.evaluate_folder"):  # fmt: skip
        stop_in(monkeypatch, f"sgg.{name}", 1)
    again = run(source, tmp_path / "out")
    assert results(tmp_path / "out") == before
    assert [len(stage.handed_on.losses) for stage in again.stages] == [6, 6]


def test_training_goes_on_from_its_state(source, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        stop_in(patched, "sgg.progressive.training._add_loss", 6)
        with pytest.raises(Stopped):
            run(source, tmp_path / "out", strengths=(0.4,))
    counted = []
    original = sys.modules["sgg.progressive.training"]._add_loss
    monkeypatch.setattr(
        "sgg.progressive.training._add_loss", lambda *given: counted.append(1) or original(*given)
    )
    run(source, tmp_path / "out", strengths=(0.4,))
    assert len(counted) == 2  # the state was written after steps 2 and 4


def kill(source: Path, out: Path, *, denoiser_at: int = 0, step: int = 0) -> None:
    """Run in a process that is killed within an image or within a step of the training."""
    program = f"""
import os, signal, sys, torch
torch.set_num_threads({torch.get_num_threads()})  # to the byte only with as many
from pathlib import Path
import gaussian_domain as gaussian
import progressive_world as world
from sgg.progressive import training
original, calls = training._add_loss, iter(range(1, 10**6))
def killing(*given):
    if next(calls) == {step}:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*given)
training._add_loss = killing
diffusion = gaussian.target_domain(gaussian.Denoiser(kill_at={denoiser_at} or None))
world.run(Path({str(source)!r}), Path({str(out)!r}), diffusion=diffusion)
"""
    done = subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT, timeout=120)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_kills_lose_nothing_and_change_nothing(source, tmp_path, undisturbed):
    out = tmp_path / "out"
    kill(source, out, step=5)  # stage 1, the state was written at step 4
    kill(source, out, denoiser_at=5)  # stage 2, within the third image
    run(source, out)
    assert results(out) == undisturbed
    assert not list(out.rglob(".*.tmp"))
    assert not list(out.rglob("state-*"))


@pytest.fixture(scope="module")
def together(source, tmp_path_factory):
    """What two processes left behind."""
    folder = tmp_path_factory.mktemp("together")
    program = f"""
from pathlib import Path
import progressive_world
progressive_world.main(Path({str(source)!r}), Path({str(folder)!r}))
"""
    start_together(program, ENVIRONMENT)
    return folder


needs_gloo = pytest.mark.skipif(sys.platform == "win32", reason="needs gloo")


@needs_gloo
def test_two_processes_make_what_one_makes(source, together, tmp_path):
    run(source, tmp_path / "one")
    for stage in (1, 2):
        one, two = (
            load_file(folder / f"stage-{stage}/segmenter/segmenter.safetensors")
            for folder in (tmp_path / "one", together / "plain")
        )
        for name, value in one.items():
            torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-5)
    images = [together / "plain/stage-1/images", tmp_path / "one/stage-1/images"]
    assert results(images[0]) == results(images[1])
    numbers = [
        json.loads((folder / "progressive.json").read_text())
        for folder in (tmp_path / "one", together / "plain")
    ]
    assert numbers[0]["source"] == numbers[1]["source"]
    for one, two in zip(*(said["stages"] for said in numbers), strict=True):
        assert two["losses"] == pytest.approx(one["losses"], rel=1e-3)
        assert two["guide"]["images"] == 5


@needs_gloo
def test_one_process_goes_on_with_what_two_have_begun(source, together):
    before = results(together / "plain")
    run(source, together / "plain")
    assert results(together / "plain") == before


@needs_gloo
def test_processes_end_with_the_same_weights_and_statistics(together):
    for stage in (1, 2):
        one, other = (torch.load(together / f"stage-{stage} of {rank}.pt") for rank in range(2))
        for name, value in one.items():
            assert torch.equal(other[name], value)
        assert not torch.equal(one["norm.running_mean"], torch.zeros(4))


# ---------------------------------------------------------------- where it stops


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


def to_nan(segmenter, task):
    with torch.no_grad():
        segmenter.model.look.weight.fill_(torch.nan)
    return [(1, 0.5)]


def to_nan_in_stage_2(segmenter, task):
    return [(1, 0.5), (2, 0.25 if task.stage == 1 else torch.nan)]


def to_one_class(segmenter, task):
    if task.stage == 2:
        with torch.no_grad():
            segmenter.model.look.weight.zero_()
    return []


DIVERGING = replace(PLAIN, optimizer="sgd", learning_rate=1e30)


def overflowing(segmenter, task):
    raise FloatingPointError("too much")


@pytest.mark.parametrize(
    ("finetune", "stage", "said"),
    [
        (to_nan, 1, "look.weight of the segmenter is not finite; the segmenter that was given"),
        (to_nan_in_stage_2, 2, "the loss is nan at step 2; the last good segmenter, of stage 1"),
        (to_one_class, 2, "consistency on the set that it learnt from fell to"),
        (overflowing, 1, "too much"),
        (partial(finetune_segmenter, settings=DIVERGING), 1, r"the loss is (nan|inf) at step \d"),
    ],
)  # fmt: skip
def test_a_diverged_training_stops_with_its_stage(source, tmp_path, finetune, stage, said):
    out = tmp_path / "out"
    for _ in range(2):  # and again when it is tried again
        with pytest.raises(FinetuningDiverged, match=f"stage {stage}: .*diverged: {said}") as error:
            run(source, out, finetune=finetune)
        assert error.value.stage == stage
        made = error.value.progression
        assert len(made.good) == stage - 1
        if stage == 2:
            kept = out / "stage-1/segmenter/segmenter.safetensors"
            assert made.weights == kept
            assert str(kept) in str(error.value)
            assert kept.is_file()
        numbers = json.loads((out / "progressive.json").read_text())
        assert f"stage {stage}: fine-tuning diverged" in numbers["stopped"]
        assert [one["segmenter"] is not None for one in numbers["stages"]] == [True] * (
            stage - 1
        ) + [False]


def test_a_divergence_is_told_to_other_processes(source, tmp_path):
    with pytest.raises(FinetuningDiverged) as error:
        run(source, tmp_path / "out", finetune=to_nan_in_stage_2)
    received = pickle.loads(pickle.dumps(error.value))
    assert (str(received), received.stage) == (str(error.value), 2)
    assert received.progression.as_json() == error.value.progression.as_json()
    assert received.progression.weights == error.value.progression.weights


def test_what_counts_as_collapse_can_be_changed(source, tmp_path):
    with pytest.raises(FinetuningDiverged):
        run(source, tmp_path / "out", finetune=to_one_class)
    made = run(source, tmp_path / "out", finetune=to_one_class, collapse=0.0)
    assert len(made.good) == 2


# ---------------------------------------------------------------- changed inputs and settings


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seed": 1}, "settings.seed is 1, was 0"),
        ({"strengths": (0.5, 0.8)}, "stage-1: was made otherwise: its strength is 0.5, was 0.4"),
        ({"strengths": (0.4,)}, "holds stage 2, expected at most 1"),
        (
            {"translation": replace(OPTIONS, guidance="global")},
            "settings.translation.guidance is global, was sgg",
        ),
        (
            {"finetune": partial(finetune_segmenter, settings=replace(PLAIN, steps=7))},
            "settings.finetune.options.settings.steps is 7, was 6",
        ),
        ({"finetune": to_one_class}, "settings.finetune.function is .*to_one_class, was sgg"),
        ({"seg_model": segmenter(norm=True)}, "models.segmenter is"),
        ({"labels_by": "copy"}, "settings.labels_by is copy, was link"),
    ],
)
def test_settings_are_not_mixed(source, tmp_path, changed, said):
    out = tmp_path / "out"
    run(source, out)
    before = results(out)
    with pytest.raises(ValueError, match=said):
        run(source, out, **changed)
    assert results(out) == before


def test_overwriting_makes_anew_what_was_made_otherwise(source, tmp_path, monkeypatch):
    out, denoiser = tmp_path / "out", Denoiser()
    run(source, out)
    other = partial(finetune_segmenter, settings=replace(PLAIN, learning_rate=0.01))
    anew = {"finetune": other, "options": JobOptions(overwrite=True)}
    run(source, out, diffusion=target_domain(denoiser), **anew)
    assert denoiser.calls == 5 * 2  # stage 2 alone has another guide
    run(source, tmp_path / "at once", finetune=other)
    assert results(out) == results(tmp_path / "at once")


def test_further_stages_go_on_from_those_that_are_there(source, tmp_path, undisturbed):
    run(source, tmp_path / "out", strengths=(0.4,))
    denoiser = Denoiser()
    run(source, tmp_path / "out", diffusion=target_domain(denoiser))
    assert denoiser.calls == 5 * 2
    assert results(tmp_path / "out") == undisturbed


def test_a_changed_image_goes_through_all_stages(tmp_path):
    root, out = write_source(tmp_path / "game"), tmp_path / "out"
    run(root, out)
    replacement = read_image(root / "images/00002.png")[:, ::-1].copy()
    Image.fromarray(replacement).save(root / "images/00003.png")
    denoiser = Denoiser()
    run(root, out, diffusion=target_domain(denoiser))
    assert denoiser.calls == (1 + 5) * 2  # of stage 2 all, for their guide is another
    run(root, tmp_path / "at once")
    assert results(out) == results(tmp_path / "at once")


def test_nothing_tells_of_stages_that_are_made_anew(tmp_path, monkeypatch):
    root, out = write_source(tmp_path / "game"), tmp_path / "out"
    write_report(run(root, out), SPACE)
    (root / "images/00003.png").write_bytes((root / "images/00002.png").read_bytes())
    stop_in(monkeypatch, "sgg.progressive.training._add_loss", 2)
    with pytest.raises(Stopped):
        run(root, out)
    assert not (out / "progressive.json").exists()
    assert not (out / "report.html").exists()
    assert not (out / "stage-1/segmenter/segmenter.safetensors").exists()


def test_a_bad_file_is_left_out_of_all_stages(tmp_path):
    root = write_source(tmp_path / "game")
    (root / "images/00002.png").write_bytes(b"no image")
    (root / "labels/00004.png").unlink()
    told = []
    made = run(root, tmp_path / "out", options=JobOptions(report=told.append))
    assert [outcome.name for outcome in made.failures] == ["00004", "00002"]
    assert [one.name for one in told if one.status == "failed"] == ["00004", "00002"]
    for stage in made.stages:
        assert [one.name for one in stage.translated.files] == ["00001", "00003", "00005"]
    numbers = json.loads((tmp_path / "out/progressive.json").read_text())
    assert set(numbers["failed"]) == {"00002", "00004"}


def test_a_bad_target_image_is_told_by_every_run_once(source, tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    (target / "one.png").write_bytes((source / "images/00001.png").read_bytes())
    (target / "other.png").write_bytes(b"no image")
    for _ in range(2):  # in the second nothing is measured anew
        told = []
        options = JobOptions(report=told.append)
        made = run(source, tmp_path / "out", target=target, options=options)
        assert [outcome.name for outcome in made.failures] == ["other"]
        assert {one.name for one in told if one.status == "failed"} == {"other"}
        numbers = json.loads((tmp_path / "out/progressive.json").read_text())
        assert numbers["failed"]["other"].endswith("got another kind of file")


def test_an_oracle_that_is_given_later_is_asked(source, tmp_path):
    run(source, tmp_path / "out", strengths=(0.4,))
    made = run(source, tmp_path / "out", strengths=(0.4,), oracle=segmenter())
    assert made.source.oracle == made.source.guide
    assert made.stages[0].measures.oracle == made.stages[0].measures.guide


def test_a_strength_is_a_number_whatever_its_type(source, tmp_path):
    run(source, tmp_path / "out", strengths=(0.5, 1.0))
    denoiser = Denoiser()
    strengths = (np.float32(0.5), 1)
    run(source, tmp_path / "out", strengths=strengths, diffusion=target_domain(denoiser))
    assert denoiser.calls == 0


def test_a_changed_source_image_counts_where_its_translation_stays(tmp_path):
    root, out = write_source(tmp_path / "game"), tmp_path / "out"
    constant = CallableDiffusion(
        lambda x_t, steps: torch.zeros_like(x_t), SCHEDULE, prediction_type="sample"
    )
    mixed = partial(finetune_segmenter, settings=replace(PLAIN, source_share=1.0))
    options = {"translation": replace(OPTIONS, guidance="none"), "finetune": mixed}
    before = results(run(root, out, diffusion=constant, **options).places.data(1) / "images")
    image = read_image(root / "images/00003.png")
    Image.fromarray(255 - image).save(root / "images/00003.png")
    run(root, out, diffusion=constant, **options)
    assert results(out / "stage-1/images") == before
    run(root, tmp_path / "at once", diffusion=constant, **options)
    assert results(out) == results(tmp_path / "at once")


def test_weights_are_hashed_once(source, tmp_path, monkeypatch):
    hashed = []
    counting = SimpleNamespace(sha256=lambda: hashed.append(1) or hashlib.sha256())
    monkeypatch.setitem(fingerprint.__globals__, "hashlib", counting)
    run(source, tmp_path / "out")
    assert len(hashed) == 2  # those of the segmenters that guided


def test_a_folder_of_another_kind_is_refused(source, tmp_path):
    (tmp_path / "out/stage-1").mkdir(parents=True)
    (tmp_path / "out/progressive.json").write_text("{}")
    before = sorted((tmp_path / "out").rglob("*"))
    with pytest.raises(ValueError, match=r"holds outputs .* but no manifest.json"):
        run(source, tmp_path / "out")
    assert sorted((tmp_path / "out").rglob("*")) == before


def test_nothing_usable(tmp_path):
    root = write_source(tmp_path / "game")
    for path in (root / "images").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"stage 1: expected at least one image .* got none"):
        run(root, tmp_path / "out")


# ---------------------------------------------------------------- a trainer of one's own


def test_ones_own_trainer(source, tmp_path):
    seen = []

    def own(segmenter, task, *, shift=0.125):
        seen.append((task.stage, task.strength, task.folder.name, len(task.inputs.files)))
        assert task.state.is_dir()
        assert [one.name for one in task.inputs.files] == [one.name for one in task.source.files]
        assert (task.folder / "images/00001.png").is_file()
        with torch.no_grad():
            segmenter.model.look.bias += shift
        return [(10, 0.5)]

    made = run(source, tmp_path / "out", finetune=own)
    assert seen == [(1, 0.4, "stage-1", 5), (2, 0.8, "stage-2", 5)]
    moved = made.segmenter.model.look.bias - segmenter().model.look.bias
    torch.testing.assert_close(moved, torch.full((4,), 0.25))
    assert made.stages[0].handed_on.losses == [(10, 0.5)]
    with pytest.raises(ValueError, match=r"finetune\.options\.shift is 0.5, was 0.125"):
        run(source, tmp_path / "out", finetune=partial(own, shift=0.5))


def test_ones_own_state_is_kept(source, tmp_path):
    def own(segmenter, task):
        kept = task.state / "epochs.txt"
        done = int(kept.read_text()) if kept.exists() else 0
        kept.write_text(str(done + 1))
        if done < 2:
            raise Stopped
        return [(done, 0.0)]

    for _ in range(2):
        with pytest.raises(Stopped):
            run(source, tmp_path / "out", finetune=own, strengths=(0.4,))
    made = run(source, tmp_path / "out", finetune=own, strengths=(0.4,))
    assert made.stages[0].handed_on.losses == [(2, 0.0)]


def test_frozen_weights_stay_frozen_through_all_stages(source, tmp_path):
    given = segmenter()
    given.model.look.bias.requires_grad = False
    made = run(source, tmp_path / "out", seg_model=given)
    assert torch.equal(made.segmenter.model.look.bias, Colour().look.bias)
    assert not torch.equal(made.segmenter.model.look.weight, Colour().look.weight)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_torchscript_segmenter_is_trained_too(source, tmp_path):
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1))
    model[0].load_state_dict(Colour().look.state_dict())
    script = torch.jit.script(model.eval())
    made = run(source, tmp_path / "out", seg_model=Segmenter(script, normalization=None))
    plain = run(source, tmp_path / "plain", seg_model=Segmenter(model, normalization=None))
    for one, other in zip(made.stages, plain.stages, strict=True):
        assert [loss for _, loss in one.handed_on.losses] == pytest.approx(
            [loss for _, loss in other.handed_on.losses], rel=1e-3
        )
    assert torch.equal(script[0].weight, Colour().look.weight)


@pytest.mark.parametrize("given", [None, [1.0], "loss", [("a", "b")]])
def test_losses_of_another_kind_are_refused(source, tmp_path, given):
    with pytest.raises(TypeError, match=r"finetune: expected a list of \(step, loss\) pairs"):
        run(source, tmp_path / "out", finetune=lambda segmenter, task: given)


def test_how_a_trainer_is_told_from_others():
    said = describe_finetune(finetune_segmenter)
    assert said["function"] == "sgg.progressive.training.finetune_segmenter"
    assert said["options"]["settings"]["steps"] == 2000
    weights = describe_finetune(partial(to_nan, task=None))["options"]
    assert weights == {"task": None}
    assert describe_finetune(partial(to_nan, 5)) != describe_finetune(partial(to_nan, 6))
    assert describe_finetune(partial(to_nan, 5)) == describe_finetune(partial(to_nan, 5))


class Trainer:
    def __init__(self, epochs):
        self.epochs = epochs

    def __call__(self, segmenter, task):
        self.epochs += 1  # it may count; what it is told by is from before
        return [(self.epochs, 0.0)]

    def train(self, segmenter, task):
        return self(segmenter, task)


def test_a_trainer_that_is_an_object_is_told_by_what_it_holds(source, tmp_path):
    for said in (describe_finetune(Trainer(3)), describe_finetune(Trainer(3).train)):
        assert said["options"] == {"epochs": 3}
    made = run(source, tmp_path / "out", finetune=Trainer(3))
    assert [stage.handed_on.losses for stage in made.stages] == [[(4, 0.0)], [(5, 0.0)]]
    again = run(source, tmp_path / "out", finetune=Trainer(3))
    assert [stage.handed_on.losses for stage in again.stages] == [[(4, 0.0)], [(5, 0.0)]]
    with pytest.raises(ValueError, match=r"finetune\.options\.epochs is 4, was 3"):
        run(source, tmp_path / "out", finetune=Trainer(4))


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
