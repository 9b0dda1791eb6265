"""The evidence suite: a smoke run of every arm, what is said of numbers, and the committed page."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from evidence import streets as streets_module
from evidence.camvid import NETWORKS
from evidence.cells import Cell, before_in_rounds, measure, state_of
from evidence.command import main
from evidence.context import Context, scale_of
from evidence.dividemix import divide_pixels
from evidence.docs import pages, write_docs
from evidence.kept import Kept, only_here
from evidence.planned import DATA, planned
from evidence.publish import publish, read_published
from evidence.references import references
from evidence.running import SUITES, run
from evidence.scales import SCALES
from evidence.seco_suite import arm_labels
from evidence.streets import scenes, scenes_key
from evidence.summary import Values, closed, order, values_of
from evidence.tables import section_orders, share_of_way
from evidence.unknown import with_unknown_things
from measuring.imagenet import imagenet_segmenter
from PIL import Image
from skimage.segmentation import find_boundaries
from tiny_sam.images import STREET_SEEDS

import seco
from seco.demo.scenes import DEV_SEEDS, TEST_SEEDS, TRAIN_SEEDS

DOCS = Path(__file__).parents[2] / "docs"
# Every arm of both suites once, and every setting.
FEW = [
    "seco/streets/source-free/", "black-box/PSA + SCC, rest=kept/",
    "open-set/PSA, rest=ignored/", "UDA/base/", "domain generalisation/alignment, rest=kept/",
    "sensitivity/tau_ns", "translation/", "both papers/SGG + PTL, labels=PSA + SCC",
    "number of stages",
]  # fmt: skip


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evidence")
    main([*run_in(folder), "--only", *FEW])
    return folder


def run_in(folder: Path) -> list[str]:
    return ["--scale", "smoke", "--seeds", "1", "--out", str(folder), "--processes", "1"]


BY_EDGES = {"edge regions + SCC, rest=ignored", "edge regions + SCC, rest=kept"}
CORRECTED = {"SCC without SAM", "PSA + SCC, rest=ignored", "PSA + SCC, rest=kept"}


def context_of(folder: Path) -> Context:
    return Context("streets", None, SCALES["smoke"], folder / "smoke", torch.device("cpu"))


def chosen() -> list[Cell]:
    cells = planned("all", "streets", "smoke", range(1))
    return [cell for cell in cells if any(word in cell.name for word in FEW)]


def test_every_arm_and_setting_runs(out):
    context = context_of(out)
    cells = planned("all", "streets", "smoke", range(1))
    assert {cell.arm for cell in cells if cell.setting != "sensitivity"} <= {
        cell.arm for cell in chosen()
    }
    for cell in chosen():
        assert state_of(cell, SUITES[cell.suite][0](cell, context), context.out) == "done"
        record = json.loads(cell.path(context.out).read_bytes())
        assert record["cell"] == cell.as_json()
        assert {"commit", "machine", "seconds", "made_with"} <= record.keys()
        assert 0 < record["numbers"]["target"]["mean_iou"] < 1
    unknown = next(cell for cell in chosen() if cell.setting == "open-set")
    numbers = json.loads(unknown.path(context.out).read_bytes())["numbers"]
    assert 0 <= numbers["unknown things labelled"] <= 1


def test_what_is_done_is_skipped_and_what_is_not_is_done(out, capsys):
    context = context_of(out)
    first, *others = [cell for cell in chosen() if cell.arm in ("raw", "base", "source only")]
    before = {cell: cell.path(context.out).read_bytes() for cell in (first, *others)}
    known = json.loads(before[first])["numbers"]
    first.path(context.out).unlink()
    changed = json.loads(before[others[0]])
    others[0].path(context.out).write_text(json.dumps(changed | {"fingerprint": "of others"}))
    capsys.readouterr()
    main([*run_in(out), "--only", *FEW, "--dry-run"])
    listed = capsys.readouterr().out
    assert f"missing         {first.name}\n" in listed
    assert f"made otherwise  {others[0].name}\n" in listed
    main([*run_in(out), "--only", *FEW])
    assert json.loads(first.path(context.out).read_bytes())["numbers"] == known
    assert json.loads(others[0].path(context.out).read_bytes())["numbers"] == changed["numbers"]
    for cell in others[1:]:
        assert cell.path(context.out).read_bytes() == before[cell]


def test_cells_are_chosen_by_their_section_too(tmp_path, capsys):
    main([*run_in(tmp_path), "--only", "UDA, with confidences", "--list"])
    *listed, _ = capsys.readouterr().out.splitlines()
    assert listed
    assert all("/UDA/" in line and "witness=scores" in line for line in listed)
    with pytest.raises(SystemExit):
        main([*run_in(tmp_path), "--only", "nothing at all"])
    assert "--only nothing at all: no cell's name or section has that" in capsys.readouterr().err


def test_finished_sections_are_published_and_told(out, tmp_path):
    results = tmp_path / "results" / "evidence"
    made_with = {name: own[0] for name, own in SUITES.items()}
    cells = planned("all", "streets", "smoke", range(1))
    lines = list(publish(context_of(out), cells, made_with, results))
    assert "seco, source-free: 20 of 20 cells" in lines
    (seco_file, sgg_file) = read_published(results)
    whole = {"source-free", "source-free, rounds", "source-free, paper's settings"}
    whole.add("source-free, with confidences")
    assert set(seco_file.sections()) == whole  # of the others only some cells are there
    assert set(sgg_file.sections()) == {"translation", "number of stages"}
    written = write_docs(tmp_path)
    front, labels, sets = (path.read_text() for path in written[:3])
    assert dict(zip(written[:3], (front, labels, sets), strict=True)) == pages(tmp_path)
    for path in written[3:]:
        assert path.stat().st_size > 1000
        assert f"images/{path.name})" in front + labels + sets
    assert "| PSA + SCC, rest=kept |" in labels
    assert "\n## Source-free, paper's settings\n" in labels
    assert "- seco, streets, scale cpu: everything." in front
    to_set, to_labels = "evidence/sgg-streets-smoke.md", "evidence/seco-streets-smoke.md"
    assert f"| [streets, smoke: strength 0.2]({to_set}#translation) | " in front
    one = f"[streets, smoke: source-free]({to_labels}#source-free)"
    assert f"| {one} | one seed: nothing is claimed |  |  |  |" in front
    assert f"]({to_labels}#source-free-papers-settings) |" in front


def test_labels_do_not_depend_on_the_truth(out, monkeypatch, tmp_path):
    wrong = np.random.default_rng(0)

    def without_truth(*given):
        found = scenes(*given)
        truth = wrong.integers(0, 13, found.truth.shape, np.uint8)
        return dataclasses.replace(found, truth=truth, objects=np.ones_like(found.objects))

    cell = Cell.of("seco", "streets", "source-free", "PSA + SCC", 0, rest="kept")
    known = arm_labels(cell, context_of(out))
    monkeypatch.setattr(streets_module, "scenes", without_truth)
    blind = dataclasses.replace(context_of(out), out=tmp_path)
    assert (arm_labels(cell, blind) == known).all()


def test_no_scene_serves_two_purposes():
    scale = SCALES["gpu"]
    most = max(scale.seco.target, scale.seco.source, scale.sgg.images, scale.sgg.target)
    assert most <= streets_module.APART // 4
    first = {(s, p): streets_module.own_scenes(s, p) for s in range(5) for p in range(3)}
    starts = sorted(first.values())
    assert min(np.diff(starts)) >= most
    assert starts[0] > max(*TRAIN_SEEDS, *DEV_SEEDS, *TEST_SEEDS)
    used = {start + k for start in starts for k in range(most)}
    assert used.isdisjoint(STREET_SEEDS)  # the tiny SAM's
    assert scenes_key(0) != scenes_key(1) == {}


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("scale", sorted(SCALES))
def test_every_cell_has_a_file_of_its_own(data, scale):
    cells = planned("all", data, scale, range(3))
    assert len({cell.path(Path("out")) for cell in cells}) == len(cells)
    assert all(Cell.from_json(json.loads(json.dumps(cell.as_json()))) == cell for cell in cells)


def test_a_cell_that_another_process_is_at_is_left_to_it(tmp_path):
    cell = Cell.of("seco", "streets", "UDA", "base", 0)
    with only_here(cell.path(tmp_path).with_name(".seed-0.json.lock")) as mine:
        assert mine
        said = measure(cell, {}, tmp_path, lambda _: pytest.fail("ran"))
    assert said == "another process is at it"
    assert measure(cell, {}, tmp_path, lambda _: {"figure": 1}).endswith(" s")
    assert measure(cell, {}, tmp_path, lambda _: pytest.fail("ran")) == "done before"
    assert measure(cell, {"steps": 2}, tmp_path, lambda _: {"figure": 2}).endswith(" s")
    assert json.loads(cell.path(tmp_path).read_bytes())["numbers"] == {"figure": 2}


def test_processes_share_the_cells(out, tmp_path, capfd):
    context = context_of(tmp_path)
    cells = [cell for cell in chosen() if cell.arm in ("raw", "base", "source only", "alignment")]
    run(cells, context, processes=2, threads=1)
    for cell in cells:
        numbers = [
            json.loads(cell.path(at).read_bytes())["numbers"] for at in (context.out, out / "smoke")
        ]
        assert numbers[0] == numbers[1]
    told = json.loads((context.out / "run.json").read_bytes())
    assert told["cells"] == len(cells)
    assert told["processes"] == 2
    assert told["seconds"] > 0
    assert f"{len(cells)} of {len(cells)} cells are done" in capfd.readouterr().out
    (context.out / "run.json").unlink()
    run(cells, context, processes=2, threads=1)
    assert not (context.out / "run.json").exists()  # there was nothing to do


def test_a_process_that_fails_stops_the_others_and_says_so(tmp_path, capfd):
    bad = Cell.of("seco", "streets", "no such setting", "raw", 0)
    with pytest.raises(SystemExit, match="run this again"):
        run([bad], context_of(tmp_path), processes=2, threads=1)
    assert "KeyError: 'no such setting'" in capfd.readouterr().err


def test_what_is_kept_is_made_once_for_each_key(tmp_path):
    kept, made = Kept(tmp_path), []

    def make() -> dict[str, np.ndarray]:
        made.append(1)
        return {"values": np.arange(3) + len(made)}

    first = kept.arrays("some", {"seed": 0}, make)
    assert (kept.arrays("some", {"seed": 0}, make)["values"] == first["values"]).all()
    assert (kept.arrays("some", {"seed": 1}, make)["values"] == [2, 3, 4]).all()
    assert len(made) == 2


def test_the_round_before():
    third = Cell.of("seco", "streets", "UDA", "PSA + SCC", 1, round=3, rest="kept")
    second = before_in_rounds(third)
    assert second.option("round") == 2
    assert before_in_rounds(second) == Cell.of(
        "seco", "streets", "UDA", "PSA + SCC", 1, rest="kept"
    )


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("suite", ["seco", "sgg"])
def test_variations_are_seen_beside_what_they_vary(suite, data):
    cells = planned(suite, data, "cpu", range(2))
    whole = {cell: {} for cell in cells}
    corrected = CORRECTED | (BY_EDGES if data == "camvid-imagenet" else set())
    expected = {
        "UDA, rounds": {"source only", "base", "PSA + SCC, rest=kept"},
        "source-free, rounds": {"source only", "base", "PSA + SCC, rest=kept"},
        "sensitivity": {"PSA + SCC, rest=kept"},
        **dict.fromkeys(("source-free, with confidences", "UDA, with confidences"), corrected),
        "guidance scale": {"unguided, strength=0.5", "SGG, strength=0.5"},
        "number of stages": {"SGG, strength=0.7", "SGG + PTL, strength=0.7"},
    }
    for section in {cell.section for cell in cells}:
        numbers = {cell: {} for cell in cells if cell.section == section}
        found = references(numbers, whole)
        assert {cell.variant for cell in found} == expected.get(section, set())
        assert len(found) == 2 * len(expected.get(section, ()))  # of both seeds
        assert references(numbers, numbers) == {}


def test_unknown_things_have_no_truth_and_change_the_image():
    plain = scenes(7, 2, (64, 96), "camera")
    found = with_unknown_things(plain, 0)
    assert found.unknown.any(axis=(1, 2)).all()
    assert (found.truth[found.unknown] == 255).all()
    assert (found.truth[~found.unknown] == plain.truth[~found.unknown]).all()
    assert (found.images[~found.unknown] == plain.images[~found.unknown]).all()
    assert (found.images[found.unknown] != plain.images[found.unknown]).any()


class Knows(torch.nn.Module):
    """Sees the class that a pixel's red says, surely; of class 2 it is unsure."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        classes = (image[:, 0] * 255).round().long()
        logits = 8.0 * torch.nn.functional.one_hot(classes, 3).permute(0, 3, 1, 2)
        return torch.where((classes == 2)[:, None], logits / 8, logits)


def test_pixels_of_large_loss_are_renamed_if_the_network_is_certain_and_dropped_if_not():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, (2, 32, 32), np.uint8)
    images = np.stack([truth, truth, truth], axis=3)
    labels = truth.copy()
    wrong = rng.random(truth.shape) < 0.2
    labels[wrong] = (labels[wrong] + 1) % 3
    labels[0, :2] = 255
    found = divide_pixels(Knows(), images, labels, 255, torch.device("cpu"), seed=0)
    wrong &= labels != 255
    assert (found[wrong & (truth != 2)] == truth[wrong & (truth != 2)]).all()
    assert (found[0, :2] == 255).all()
    right = ~wrong & (labels != 255) & (truth != 2)
    assert (found[right] == truth[right]).all()


def some(arm: str, *values: float, **options: str) -> dict[Cell, dict[str, dict[str, float]]]:
    return {
        Cell.of("seco", "streets", "UDA", arm, seed, **options): {"target": {"mean_iou": value}}
        for seed, value in enumerate(values)
    }


def test_summaries_are_paired_by_seed():
    numbers = {
        **some("base", 0.4, 0.5), **some("supervised on target", 0.6, 0.7),
        **some("PSA", 0.5, 0.65, rest="kept"), **some("alignment", 0.55, 0.64, rest="kept"),
    }  # fmt: skip
    found = values_of(numbers)
    share = closed(found["base"], found["PSA, rest=kept"], found["supervised on target"])
    assert share.by_seed == pytest.approx({0: 0.5, 1: 0.75})
    assert share.text() == "62.5 ± 17.7"
    above = order("base", "PSA, rest=kept", found)
    assert above.held == 2
    assert above.verdict == "yes, within the deviations"
    orders = section_orders("seco", "UDA", numbers, numbers)
    told = {(one.worse, one.better): one.verdict for one in orders}
    assert told == {
        ("base", "alignment, rest=kept"): "yes",
        ("alignment, rest=kept", "PSA, rest=kept"): "in 1 of 2 seeds",
    }


def test_the_committed_pages_are_what_the_committed_numbers_give():
    made = pages()
    there = {DOCS / "evidence.md", *(DOCS / "evidence").glob("*.md")}
    assert sorted(there - set(made)) == [], "of what is no more: delete it"
    assert there == set(made), "run: python examples/evidence --write-docs"
    for path, text in made.items():
        assert path.read_text() == text, "run: python examples/evidence --write-docs"
    for one in read_published():
        assert one.scale != "smoke"


def in_overview(row, column):
    """A cell of the tables of the committed front page."""
    lines = (DOCS / "evidence.md").read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith(f"| [{row}]("))
    head = next(line for line in reversed(lines[:at]) if line.startswith("|  |"))
    return lines[at].split("|")[head.split("|").index(f" {column} ")].strip()


@pytest.mark.parametrize(
    ("row", "column", "file", "cell"),
    [
        ("streets: UDA", "PSA + SCC", "seco-streets-cpu",
         {"setting": "UDA", "arm": "PSA + SCC", "options": {"rest": "kept"}}),
        ("camvid-imagenet: open-set", "true labels", "seco-camvid-imagenet-cpu",
         {"setting": "open-set", "arm": "supervised on target", "options": {}}),
        ("camvid: strength 0.7", "LCG", "sgg-camvid-cpu",
         {"setting": "translation", "arm": "LCG", "options": {"strength": 0.7}}),
        ("streets: SGG", "PSA + SCC", "sgg-streets-cpu",
         {"setting": "both papers", "arm": "SGG", "options": {"labels": "PSA + SCC"}}),
    ],
)  # fmt: skip
def test_the_overview_shows_the_committed_numbers(row, column, file, cell):
    said = json.loads((DOCS / "results" / "evidence" / f"{file}.json").read_text())
    own = [one for one in said["cells"] if cell.items() <= one.items()]
    values = [100 * one["numbers"]["target"]["mean_iou"] for one in own]
    assert sorted(one["seed"] for one in own) == [0, 1, 2]
    assert in_overview(row, column) == f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}"


def test_the_committed_page_has_its_plots(tmp_path):
    (tmp_path / "results").mkdir()
    shutil.copytree(DOCS / "results" / "evidence", tmp_path / "results" / "evidence")
    plots = [path for path in write_docs(tmp_path) if path.suffix == ".png"]
    assert len(plots) > 30
    for path in plots:
        assert (DOCS / "images" / path.name).is_file()


def test_a_share_of_next_to_no_way_is_not_told():
    base, arm = (Values(dict(enumerate(v))) for v in ((0.50, 0.51, 0.52), (0.54, 0.55, 0.56)))
    for upper, said in (
        ((0.58, 0.59, 0.60), "50 ± 0 %"),
        ((0.58, 0.61, 0.60), "47 ± 6 %"),
        ((0.58, 0.54, 0.66), "–"),  # 8, 3 and 14 points
        ((0.60, 0.61, 0.51), "–"),  # one goes the other way
    ):
        assert share_of_way(base, arm, Values(dict(enumerate(upper)))) == said
    one = Values({0: 0.5}), Values({0: 0.51}), Values({0: 0.6})
    assert share_of_way(*one) == "10 %"


@pytest.fixture(scope="module")
def frames_of_a_drive(tmp_path_factory):
    """Scenes in the layout of CamVid: two day drives, dusk, and frames of validation."""
    root = tmp_path_factory.mktemp("camvid")
    names = [f"{drive}_{k}" for drive in ("0001TP", "0006R0", "0016E5") for k in range(4)]
    for split, own in (("train", names), ("val", ["0016E5_8", "0016E5_9"])):
        for kind in ("images", "labels", "pseudo/espnetv2_0.5"):
            (root / kind / split).mkdir(parents=True)
        drawn = scenes(300 + len(own), len(own), (48, 64), "camera")
        (root / "edges" / split).mkdir(parents=True)
        for name, objects in zip(own, drawn.objects, strict=True):
            edges = 255 * find_boundaries(objects).astype(np.uint8)
            Image.fromarray(edges).save(root / "edges" / split / f"{name}.png")
        for name, image, label in zip(own, drawn.images, drawn.truth % 11, strict=True):
            Image.fromarray(image).save(root / "images" / split / f"{name}.png")
            Image.fromarray(label).save(root / "labels" / split / f"{name}.png")
            given = root / "pseudo/espnetv2_0.5" / split / f"{name}_label.png"
            Image.fromarray(label).save(given)
    return root


@pytest.mark.parametrize("data", NETWORKS)
def test_camvid_runs_with_its_networks(data, frames_of_a_drive, tmp_path, capsys):
    words = ["--suite", "seco", "--data", data, "--scale", "smoke", "--seeds", "1", "--out",
             str(tmp_path), "--processes", "1"]  # fmt: skip
    arms = ["source-free/PSA + SCC, rest=kept/", "black-box/base", "UDA/base/seed"]
    if NETWORKS[data].edges:
        arms += ["UDA/edge regions, rest=kept/", "source-free/edge regions + SCC, rest=ignored"]
    with pytest.raises(SystemExit, match=f"--data {data}: expected --folder DIR"):
        main([*words, "--only", arms[0]])
    main([*words, "--folder", str(frames_of_a_drive), "--only", *arms])
    count = 6 if NETWORKS[data].edges else 3
    assert f"{count} of {count} cells are done" in capsys.readouterr().out
    records = [json.loads(path.read_bytes()) for path in tmp_path.rglob("cells/**/*.json")]
    assert len(records) == count
    for record in records:
        assert record["cell"]["data"] == data
        assert ("imagenet" in record["made_with"]) == (data == "camvid-imagenet")
        assert 0 < record["numbers"]["target"]["mean_iou"] < 1
    (kept,) = (tmp_path / "smoke" / "kept").glob("*-day-*.safetensors")
    assert kept.name.startswith(f"{data}-day-")


def test_edge_regions_and_features_of_imagenet_are_what_labels_come_from(
    frames_of_a_drive, tmp_path, monkeypatch
):
    encoders = []
    scale = scale_of("camvid-imagenet", "smoke")
    context = Context("camvid-imagenet", frames_of_a_drive, scale, tmp_path, torch.device("cpu"))
    made = seco.ConnectivityCorrector

    def remembering(space, encoder, **options):
        encoders.append(encoder)
        return made(space, encoder, **options)

    monkeypatch.setattr(seco, "ConnectivityCorrector", remembering)
    labels = {
        arm: arm_labels(
            Cell.of("seco", "camvid-imagenet", "source-free", arm, 0, rest="ignored"), context
        )
        for arm in ("PSA", "edge regions", "edge regions + SCC")
    }
    assert (labels["PSA"] != labels["edge regions"]).any()
    assert [type(encoder) for encoder in encoders] == [seco.ModuleExtractor]


def test_camvid_without_edge_maps_is_refused_at_once(tmp_path):
    words = ["--data", "camvid-imagenet", "--folder", str(tmp_path), "--processes", "1"]
    with pytest.raises(SystemExit, match=r"expected .*edges, got none"):
        main([*words, "--scale", "smoke", "--out", str(tmp_path / "out")])


def test_suites_that_a_network_does_not_have_are_not_planned(capsys):
    for scale in SCALES:
        cells = planned("all", "camvid-imagenet", scale, range(3))
        assert {cell.suite for cell in cells} == {"seco"}
    with pytest.raises(SystemExit):
        main(["--suite", "sgg", "--data", "camvid-imagenet", "--list"])
    assert "--suite sgg: not with --data camvid-imagenet" in capsys.readouterr().err


def test_a_network_from_imagenet_keeps_what_few_images_would_spoil():
    model = imagenet_segmenter(0, 5).requires_grad_(True).train()  # as measuring.training does
    before = {name: value.clone() for name, value in model.state_dict().items()}
    again = imagenet_segmenter(0, 5).state_dict()
    assert all((again[name] == value).all() for name, value in before.items())
    images = torch.rand(2, 3, 70, 90)
    logits = model(images)
    assert logits.shape == (2, 5, 70, 90)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    logits.logsumexp(1).mean().backward()
    optimizer.step()
    changed = {name for name, value in model.state_dict().items() if (value != before[name]).any()}
    assert "head.weight" in changed
    assert any(name.startswith("stages.blocks.9.") for name in changed)
    early = ("stages.stem.", *(f"stages.blocks.{block}." for block in range(3)))  # to stride 4
    assert not any(name.startswith(early) for name in changed)
    assert any(name.startswith("stages.blocks.3.") for name in changed)
    assert not any("stages." in name and "running" in name for name in changed)
