"""``seco evaluate``: folders of labels beside their truth, whatever is in them."""

from __future__ import annotations

import json
import re
import threading
import warnings

import numpy as np
import pytest
import torch
from commands import run
from PIL import Image

import seco.folder.evaluate
from seco import (
    Connectivities,
    ConnectivityCorrector,
    LabelSpace,
    NoNoiseFoundWarning,
    SCCSettings,
    connected_components,
)
from seco.common.files import write_label
from seco.evaluation import (
    TrueConnectivities,
    boundary_overlap,
    compare_with_truth,
    confusion,
    recognition,
    repair,
)
from seco.folder.connectivities import write_connectivities
from seco.folder.evaluate import find_pairs

SPACE = LabelSpace(names=("road", "sky & <b>", "car"), things=("car",))
NAMES = ("a/one", "b & 'c'/two <x>", 'th"ree')


def draw(seed, size=(24, 32)):
    rng = np.random.default_rng(seed)
    truth = np.kron(rng.integers(0, 3, (3, 4)), np.ones((8, 8), int)).astype(np.uint8)
    label = np.where(rng.random(size) < 0.2, rng.choice([0, 1, 2, 255], size), truth)
    truth[:2] = 255
    image = np.array([(200, 30, 30), (30, 30, 200), (30, 200, 30)], np.uint8)[truth % 3]
    return image, label.astype(np.uint8), truth


@pytest.fixture
def work(tmp_path):
    (tmp_path / "space.json").write_text(SPACE.to_json())
    for seed, name in enumerate(NAMES):
        image, label, truth = draw(seed)
        for kind in ("images", "labels", "truth"):
            (tmp_path / kind / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "images" / f"{name}.png")
        write_label(tmp_path / "labels" / f"{name}.png", label, SPACE)
        # Truth of data sets has ids of its own for what is unknown.
        Image.fromarray(np.where(truth == 255, 77, truth)).save(tmp_path / "truth" / f"{name}.png")
    return tmp_path


def evaluate(work, *more, labels="labels", truth="truth"):
    out = work / "found.json"
    out.unlink(missing_ok=True)
    result = run(
        "evaluate", work / labels, work / truth, "--label-space", work / "space.json",
        "--json", out, *more,
    )  # fmt: skip
    return result, json.loads(out.read_text()) if out.exists() else None


def measured(seeds):
    """The measures of several images, from the functions that are tested elsewhere."""
    pairs = [draw(seed)[1:] for seed in seeds]
    matrix = confusion(*map(np.concatenate, zip(*pairs, strict=True)), SPACE)
    outlines = [boundary_overlap(label, truth, SPACE) for label, truth in pairs]
    boundary = sum(one.intersection for one in outlines) / sum(one.union for one in outlines)
    return matrix, boundary


def test_measures_are_pooled_over_the_images(work):
    result, found = evaluate(work)
    matrix, boundary = measured(range(3))
    assert result.exit_code == 0, result.output
    assert found["images"] == 3
    assert found["failures"] == {}
    assert found["mean_iou"] == pytest.approx(matrix.mean_iou, abs=1e-6)
    assert found["mean_iou_labelled"] == pytest.approx(matrix.labelled.mean_iou, abs=1e-6)
    assert found["accuracy"] == pytest.approx(matrix.accuracy, abs=1e-6)
    assert found["coverage"] == pytest.approx(matrix.coverage, abs=1e-6)
    assert found["mean_boundary_iou"] == pytest.approx(boundary.mean(), abs=1e-6)
    assert found["pixels"] == 3 * 22 * 32
    row = re.search(r"\| sky & <b> +\| +([\d.]+) \| +([\d.]+) \| +([\d.]+) \|", result.stdout)
    shown = [f"{100 * v:.1f}" for v in (matrix.iou[1], matrix.labelled.iou[1], boundary[1])]
    assert list(row.groups()) == shown
    assert "3 measured, 0 failed" in result.stdout


def test_files_are_read_while_others_are_measured(work, monkeypatch):
    real, threads = seco.folder.evaluate.read_label, []

    def watched(path, space):
        threads.append(threading.current_thread())
        return real(path, space)

    monkeypatch.setattr(seco.folder.evaluate, "read_label", watched)
    assert evaluate(work)[1]["images"] == 3
    assert len(threads) == 3
    assert threading.main_thread() not in threads


def test_a_folder_for_the_numbers_is_made(work):
    result, _ = evaluate(work, "--json", work / "new/folder/found.json")
    assert result.exit_code == 0, result.output
    assert json.loads((work / "new/folder/found.json").read_text())["images"] == 3


def test_a_narrower_band_is_harder(work):
    wide, narrow = (evaluate(work, "--boundary-ratio", ratio)[1] for ratio in (0.5, 0.02))
    assert narrow["mean_boundary_iou"] < wide["mean_boundary_iou"]
    assert wide["mean_iou"] == narrow["mean_iou"]
    assert wide["boundary_ratio"] == 0.5


def test_bad_files_are_reported_and_left_out(work):
    one = work / "labels" / f"{NAMES[0]}.png"
    one.write_bytes(one.read_bytes()[:60])
    result, found = evaluate(work)
    assert result.exit_code == 1
    assert found["images"] == 2
    assert found["mean_iou"] == pytest.approx(measured([1, 2])[0].mean_iou, abs=1e-6)
    assert list(found["failures"]) == [NAMES[0]]
    assert "expected a readable image" in found["failures"][NAMES[0]]
    assert f"failed: {NAMES[0]}" in result.stderr

    write_label(one, np.zeros((24, 31), np.uint8), SPACE)
    assert "truth: expected shape (24, 31)" in evaluate(work)[1]["failures"][NAMES[0]]
    Image.fromarray(np.full((24, 32), 9, np.uint8)).save(one)
    assert "label: expected class ids 0..2" in evaluate(work)[1]["failures"][NAMES[0]]


def test_partners_that_are_missing_are_called_what_they_are(work):
    (work / "labels" / f"{NAMES[0]}.png").unlink()
    (work / "truth" / f"{NAMES[1]}.png").unlink()
    result, found = evaluate(work)
    assert result.exit_code == 1
    assert found["images"] == 1
    assert found["failures"] == {
        NAMES[0]: "no label of that name", NAMES[1]: "no truth of that name",
    }  # fmt: skip


def test_two_files(work):
    result, found = evaluate(work, labels=f"labels/{NAMES[2]}.png", truth=f"truth/{NAMES[2]}.png")
    assert result.exit_code == 0, result.output
    assert found["mean_iou"] == pytest.approx(measured([2])[0].mean_iou, abs=1e-6)


def test_names_of_data_sets(work):
    for kind, end in (("labels", "_leftImg8bit"), ("truth", "_gtFine_labelTrainIds")):
        for path in sorted((work / kind).rglob("*.png")):
            path.rename(path.with_name(f"{path.stem}{end}.png"))
    result, found = evaluate(work)
    assert result.exit_code == 0, result.output
    assert found["mean_iou"] == pytest.approx(measured(range(3))[0].mean_iou, abs=1e-6)


def test_labels_that_a_list_names(work):
    (work / "list.txt").write_text("a/one.png a/one.png\n")
    result, found = evaluate(work, "--list", work / "list.txt")
    assert result.exit_code == 0, result.output
    assert found["mean_iou"] == pytest.approx(measured([0])[0].mean_iou, abs=1e-6)


def test_labels_without_a_class_and_truth_without_one(work):
    for kind, value in (("labels", 255), ("truth", 255)):
        for path in (work / kind).rglob("*.png"):
            Image.fromarray(np.full((24, 32), value, np.uint8)).save(path)
        result, found = evaluate(work)
        assert result.exit_code == 0, result.output
        assert found["accuracy"] is None
    assert found["mean_iou"] is None
    assert "nan" not in result.output


@pytest.fixture(scope="module")
def trained():
    settings = SCCSettings(iterations=1, batch_size=8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoNoiseFoundWarning)
        return ConnectivityCorrector(SPACE, settings=settings).fit([draw(0)[:2]])


@pytest.fixture
def fitted(work, trained):
    trained.save(work / "corrector")
    return trained


def test_what_a_corrector_recognises_and_repairs(work, fitted):
    result, found = evaluate(
        work, "--corrector", work / "corrector", "--images", work / "images", "--device", "cpu"
    )
    assert result.exit_code == 0, result.output
    pooled = TrueConnectivities.pool(
        [
            compare_with_truth(
                fitted.correct_with_details(image, label).judgements[0], truth, SPACE
            )
            for image, label, truth in map(draw, range(3))
        ]
    )
    assert found["connectivities"]["count"] == len(pooled) > 20
    assert found["connectivities"]["wrong"] == pooled.noisy.sum()
    for name, by_area in (("by_count", False), ("by_area", True)):
        said = found["connectivities"][name]
        recognised = recognition(pooled, by_area=by_area)
        for measure in ("auroc_of_loss", "auroc_of_noise_probability"):
            assert said[measure] == pytest.approx(getattr(recognised, measure), abs=1e-6)
        kept = repair(pooled, by_area=by_area).clean_kept
        assert said["clean_kept"] == pytest.approx(kept, abs=1e-6)
        assert f" {100 * kept:.1f} |" in result.stdout
    assert "| AUROC of the loss " in result.stdout
    assert "| AUROC of the noise probability " in result.stdout


@pytest.mark.filterwarnings("ignore:corrector. was fitted to the connected")
def test_the_regions_that_refining_found_are_judged(work, fitted):
    """More images than are read ahead."""
    names, judged, components = [*NAMES, *(f"more/{seed}" for seed in range(3, 9))], [], []
    for seed, name in enumerate(names):
        image, label, truth = draw(seed)
        for kind in ("images", "labels", "truth", "parts"):
            (work / kind / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(work / "images" / f"{name}.png")
        write_label(work / "labels" / f"{name}.png", label, SPACE)
        write_label(work / "truth" / f"{name}.png", truth, SPACE)
        found = connected_components(label)
        ids, classes = torch.from_numpy(found.ids), torch.from_numpy(found.classes).repeat(2)
        ids[:, ids.shape[1] // 2 :] += (ids[:, ids.shape[1] // 2 :] > 0) * len(found)
        parts = Connectivities(ids, classes, torch.ones(len(classes))).with_pixels()
        write_connectivities(work / "parts" / f"{name}.npz", parts)
        said = fitted.correct_with_details(image, label, connectivities=parts)
        judged.append(compare_with_truth(said.judgements[0], truth, SPACE))
        said = fitted.correct_with_details(image, label)
        components.append(compare_with_truth(said.judgements[0], truth, SPACE))
    given = ("--images", work / "images", "--device", "cpu", "--connectivities", work / "parts")
    result, found = evaluate(work, "--corrector", work / "corrector", *given)
    assert result.exit_code == 0, result.output
    pooled = TrueConnectivities.pool(judged)
    assert (
        found["connectivities"]["count"] == len(pooled) > len(TrueConnectivities.pool(components))
    )
    assert found["connectivities"]["wrong"] == pooled.noisy.sum()
    # a single label, whose image is called otherwise
    (work / "images/more/3.png").rename(work / "images/frame.png")
    result, one = evaluate(
        work, "--corrector", work / "corrector", "--images", work / "images/frame.png",
        "--device", "cpu", "--connectivities", work / "parts/more",
        labels="labels/more/3.png", truth="truth/more/3.png",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert one["connectivities"]["count"] == len(judged[3]) > len(components[3])
    (work / "images/frame.png").rename(work / "images/more/3.png")
    path = work / "corrector/corrector.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"regions": True}))
    with pytest.warns(UserWarning, match="was fitted to the regions of refined labels"):
        evaluate(work, "--corrector", work / "corrector", *given[:-2])
    write_label(work / "labels" / f"{NAMES[0]}.png", np.zeros_like(draw(0)[1]), SPACE)
    result, found = evaluate(work, "--corrector", work / "corrector", *given)
    assert result.exit_code == 1
    assert "got those of another version of it" in found["failures"][NAMES[0]]


def test_images_of_a_corrector_that_are_missing(work, fitted):
    (work / "images" / f"{NAMES[1]}.png").unlink()
    _, found = evaluate(
        work, "--corrector", work / "corrector", "--images", work / "images", "--device", "cpu"
    )
    assert found["failures"] == {NAMES[1]: "no image of that name"}


@pytest.mark.parametrize("end", ["", "_labelTrainIds"])
@pytest.mark.parametrize("match", ["path", "name"])
def test_two_images_of_a_label_are_told_from_none(work, end, match):
    for kind in ("labels", "truth"):
        for path in sorted((work / kind).rglob("*.png")):
            path.rename(path.with_name(f"{path.stem}{end}.png"))
    Image.new("RGB", (32, 24)).save(work / "images" / f"{NAMES[0]}.jpg")
    (work / "images" / f"{NAMES[1]}.png").unlink()
    pairs = find_pairs(work / "labels", work / "truth", images=work / "images", match=match)
    reasons = {outcome.name: outcome.reason for outcome in pairs.labels.failures}
    assert reasons == {
        f"{NAMES[0]}{end}": f"more than one image of that name: {NAMES[0]}.jpg, {NAMES[0]}.png",
        f"{NAMES[1]}{end}": "no image of that name",
    }


@pytest.mark.parametrize(
    "option", [("--list", "nosuch.txt"), ("--naming", "proda"), ("--match", "path")]
)
def test_options_of_folders_are_refused_with_single_files(work, option):
    name = f"{NAMES[2]}.png"
    result, found = evaluate(work, *option, labels=f"labels/{name}", truth=f"truth/{name}")
    assert (result.exit_code, found) == (2, None)
    assert f"{option[0]}: expected only with folders, got {option[1]}" in result.stderr


def test_what_cannot_work_is_refused(work, fitted):
    def refused(*more, **places):
        result, found = evaluate(work, *more, **places)
        assert (result.exit_code, found) == (2, None)
        return result.stderr

    assert "--corrector and --images belong together" in refused("--images", work)
    assert "--device: expected only with --corrector, got cpu" in refused("--device", "cpu")
    assert "--boundary-ratio: expected" in refused("--boundary-ratio", "0")
    assert "no such file or folder" in refused(truth="nowhere")
    assert "--json: expected a file, got the folder" in refused("--json", work)
    assert "expected a file" in refused(labels=f"labels/{NAMES[2]}.png")
    assert "expected a folder" in refused(truth=f"truth/{NAMES[2]}.png")
    (work / "other.json").write_text(LabelSpace(names=("x", "y")).to_json())
    message = refused(
        "--corrector", work / "corrector", "--images", work / "images", "--device", "cpu",
        "--label-space", work / "other.json",
    )  # fmt: skip
    assert "corrector: expected one for label_space" in message
