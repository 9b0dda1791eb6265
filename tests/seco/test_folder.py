"""The stages on folders, and what they write; next to nothing here needs SAM."""

from __future__ import annotations

import os
import shutil
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from outcomes import statuses
from PIL import Image
from segment_anything import SamPredictor

import seco
from seco import CITYSCAPES, ConnectivityCorrector, SCCSettings
from seco.common.files import read_confidence, read_image, read_label, write_label
from seco.common.jobs import JobOptions, Summary
from seco.correction import segmenter_extractor
from seco.correction.extractors import ModuleExtractor
from seco.correction.segmenter_extractor import SegmenterExtractor
from seco.correction.storage import CORRECTOR_FILE
from seco.folder import (
    ImageFiles,
    OutputFormat,
    Refiner,
    correct_folder,
    find_inputs,
    find_regions,
    fit_folder,
    refine_file,
    refine_folder,
    single_input,
)
from seco.folder.chain import run_chain
from seco.folder.connectivities import read_connectivities, write_connectivities
from seco.folder.evaluate import evaluate_folder, find_pairs
from seco.folder.outputs import labelled_share
from seco.folder.provenance import manifest_of
from seco.sam.tiny import PROPOSALS

SIZE = (24, 32)


def scene(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An image, its true label, and that with a tenth of the pixels missing."""
    rng = np.random.default_rng(seed)
    label = np.full(SIZE, 10, np.uint8)
    label[SIZE[0] // 2 :] = 0
    column = int(rng.integers(4, 20))
    label[8:18, column : column + 8] = 13
    noise = rng.integers(0, 20, (*SIZE, 3))
    image = np.array(CITYSCAPES.colours, np.uint8)[label] // 2 + noise.astype(np.uint8)
    speckled = np.where(rng.random(SIZE) < 0.1, 255, label).astype(np.uint8)
    return image, label, speckled


@pytest.fixture
def work(tmp_path):
    """Six images, speckled labels, and regions, so that no SAM is needed."""
    for seed in range(6):
        image, label, speckled = scene(seed)
        for kind in ("images", "labels"):
            (tmp_path / kind / f"part{seed % 2}").mkdir(parents=True, exist_ok=True)
        name = f"part{seed % 2}/{seed}"
        Image.fromarray(image).save(tmp_path / f"images/{name}.png")
        write_label(tmp_path / f"labels/{name}.png", speckled, CITYSCAPES)
        regions = seco.Regions.from_label_map(torch.from_numpy(label.astype(np.int64)) + 1)
        regions.save(tmp_path / f"regions/{name}.npz")
    return tmp_path


PALETTE = OutputFormat()


def vote(
    work: Path, out: str = "out", output: OutputFormat = PALETTE, **options: object
) -> Summary:
    refiner = Refiner(None, CITYSCAPES, regions=work / "regions")
    return refine_folder(
        find_inputs(work / "images", work / "labels"), work / out, refiner,
        output=output, options=JobOptions(**options),
    )  # fmt: skip


def test_refining_by_vote_fills_the_speckles_and_counts(work):
    summary = vote(work)
    assert statuses(summary) == {"written": 6}
    for seed in range(6):
        _, label, speckled = scene(seed)
        assert (read_label(work / f"out/part{seed % 2}/{seed}.png") == label).all()
        facts = summary.facts()[f"part{seed % 2}/{seed}"]
        assert facts["changed"] == (speckled == 255).sum()
        assert facts["after"][13] == 80
        assert facts["before"][-1] == (speckled == 255).sum()
        assert labelled_share(facts) == 1
    assert vote(work).facts() == summary.facts()


def test_places_may_be_strings(work):
    inputs = find_inputs(str(work / "images"), str(work / "labels"))
    refiner = Refiner(None, CITYSCAPES, regions=str(work / "regions"))
    output = OutputFormat(scores=str(work / "scores"), connectivities=str(work / "parts"))
    done = refine_folder(inputs, str(work / "out"), refiner, output=output)
    assert statuses(done) == {"written": 6}
    assert (work / "scores/part0/0.png").exists()
    refined = find_inputs(str(work / "images"), str(work / "out"), confidence=str(work / "scores"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", seco.correction.mixture.NoNoiseFoundWarning)
        fit_folder(
            refined, str(work / "corrector"), label_space=CITYSCAPES, settings=QUICK,
            connectivities=str(work / "parts"),
        )  # fmt: skip
    given = {"connectivities": str(work / "parts")}
    done = correct_folder(refined, str(work / "corrector"), str(work / "after"), **given)
    assert statuses(done) == {"written": 6}
    pairs = find_pairs(str(work / "after"), str(work / "labels"))
    assert evaluate_folder(pairs, CITYSCAPES).images == 6
    one = single_input(str(work / "images/part0/0.png"), str(work / "labels/part0/0.png"))
    shutil.copy(work / "regions/part0/0.npz", work / "regions")
    refine_file(one, str(work / "one.png"), None, refiner)
    assert (work / "one.png").exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"outside": "drop"}, "outside: expected one of 'ignore', 'keep', got 'drop'"),
        ({"keep_fraction": 7}, "keep_fraction: expected a number"),
        ({"confidence_threshold": -1}, "confidence_threshold: expected a number"),
        ({"label_space": "cityscapes"}, "label_space: expected seco.LabelSpace, got str"),
        ({"settings": {}}, "settings: expected seco.PSASettings, got dict"),
        ({"settings": seco.PSASettings(method="prompts")}, "sam: .* with method 'prompts'"),
        ({"regions": None}, "sam: expected a segmenter where no regions are given"),
    ],
)
def test_what_no_image_is_to_blame_for_is_told_at_once(wrong, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Refiner(**({"sam": None, "label_space": CITYSCAPES, "regions": "regions"} | wrong))


def test_bad_files_of_every_kind_are_told_apart(work):
    files = {n: work / f"labels/part{n % 2}/{n}.png" for n in range(6)}
    data = files[0].read_bytes()
    files[0].write_bytes(data[: len(data) // 2])
    files[1].write_bytes(b"")
    write_label(files[2], np.zeros((5, 5), np.uint8), CITYSCAPES)
    (work / "regions/part1/3.npz").unlink()
    files[4].unlink()
    summary = vote(work)
    assert statuses(summary) == {"failed": 5, "written": 1}
    reasons = {outcome.name: outcome.reason for outcome in summary.of("failed")}
    assert "expected a readable image" in reasons["part0/0"]
    assert "expected a readable image" in reasons["part1/1"]
    assert "regions: expected the size (5, 5) of pl, got (24, 32)" in reasons["part0/2"]
    assert "No such file" in reasons["part1/3"]
    assert reasons["part0/4"] == "no label of that name"


def test_a_replaced_regions_file_counts_as_an_input(work):
    vote(work)
    nothing = seco.Regions.from_masks(torch.zeros(0, *SIZE, dtype=torch.bool))
    nothing.save(work / "regions/part0/0.npz")
    assert statuses(vote(work)) == {"written": 1, "skipped": 5}
    assert (read_label(work / "out/part0/0.png") == 255).all()


def test_proda_layout_out_and_in_again(work):
    nothing = seco.Regions.from_masks(torch.zeros(0, *SIZE, dtype=torch.bool))
    nothing.save(work / "regions/part0/0.npz")
    assert statuses(vote(work, "proda", OutputFormat("proda"))) == {"written": 6}
    assert (read_label(work / "proda/part0/0.png") == 250).all()
    assert set(np.unique(read_label(work / "proda/part1/1.png"))) == {0, 10, 13}
    raw = np.load(work / "proda/part1/1_conf.npy")
    assert (raw.dtype, raw.shape) == (np.float16, SIZE)
    inputs = find_inputs(work / "images", work / "proda", confidence=work / "proda", naming="proda")
    refiner = Refiner(None, CITYSCAPES, regions=work / "regions", outside="keep")
    summary = refine_folder(inputs, work / "again", refiner)
    assert statuses(summary) == {"written": 6}
    assert (read_label(work / "again/part0/0.png") == 255).all()


def test_names_with_dots_keep_them(tmp_path):
    place = Path("y/v1.0")
    files = ImageFiles(tmp_path, None, None, place, place)
    paths = OutputFormat(scores=tmp_path / "s").paths(files, tmp_path / "out")
    assert paths == (tmp_path / "out/y/v1.0.png", tmp_path / "s/y/v1.0.png")
    proda = OutputFormat("proda").paths(files, tmp_path)
    assert [path.name for path in proda] == ["v1.0.png", "v1.0_conf.npy"]


def test_scores_as_png_and_as_npy(work):
    for kind, tolerance in (("png", 1 / 510), ("npy", 1 / 2048)):
        vote(work, f"out-{kind}", OutputFormat(scores=work / kind, score_format=kind))
        scores = read_confidence(work / f"{kind}/part0/0.{kind}")
        image, _, speckled = scene(0)
        regions = seco.Regions.load(work / "regions/part0/0.npz")
        expected = seco.refine_with_details(image, speckled, regions=regions).scores[0].numpy()
        assert np.abs(scores - expected).max() <= tolerance


def test_regions_are_found_once_per_image(work):
    found = find_regions(
        find_inputs(work / "images"), work / "found", seco.load_sam("tiny"),
        settings=seco.ProposalSettings(**(vars(PROPOSALS) | {"points_per_side": 2})),
    )  # fmt: skip
    assert statuses(found) == {"written": 6}
    regions = seco.Regions.load(work / "found/part1/3.npz")
    assert regions.size == SIZE
    assert found.facts()["part1/3"] == {"regions": len(regions)}


def test_regions_of_an_image_that_has_changed_are_not_used(work):
    def find():
        settings = seco.ProposalSettings(**(vars(PROPOSALS) | {"points_per_side": 2}))
        sam = seco.load_sam("tiny")
        return find_regions(find_inputs(work / "images"), work / "found", sam, settings=settings)

    def refine():
        refiner = Refiner(None, CITYSCAPES, regions=work / "found", outside="keep")
        return refine_folder(find_inputs(work / "images", work / "labels"), work / "new", refiner)

    find()
    image, other = work / "images/part0/0.png", work / "images/part0/2.png"
    image.write_bytes(other.read_bytes())
    os.utime(other)  # the same content: no other image
    summary = refine()
    assert statuses(summary) == {"written": 5, "failed": 1}
    (bad,) = summary.of("failed")
    assert bad.name == "part0/0"
    assert "0.npz: expected regions of this image, got those of another version" in bad.reason
    assert statuses(find()) == {"skipped": 5, "written": 1}
    assert statuses(refine()) == {"skipped": 5, "written": 1}
    # Regions of one's own: nobody knows which image they are of.
    (work / "found/manifest.json").unlink()
    image.write_bytes((work / "images/part1/1.png").read_bytes())
    (work / "new/part0/0.png").unlink()
    assert statuses(refine()) == {"skipped": 5, "written": 1}


def test_the_chain_knows_the_regions_that_were_found_before(work):
    """Images and labels of other names, as Cityscapes has them; one image is bad."""
    for kind, end in (("images", "_leftImg8bit"), ("labels", "_gtFine_labelTrainIds")):
        for path in (work / kind).rglob("*.png"):
            path.rename(path.with_name(f"{path.stem}{end}.png"))
    (work / "images/part0/0_leftImg8bit.png").write_bytes(b"")
    sam = seco.load_sam("tiny")
    proposals = seco.ProposalSettings(**(vars(PROPOSALS) | {"points_per_side": 2}))
    alone = find_inputs(work / "images")
    found = find_regions(alone, work / "out/regions", sam, settings=proposals)
    assert statuses(found) == {"written": 5, "failed": 1}
    refiner = Refiner(
        sam, CITYSCAPES, outside="keep", settings=seco.PSASettings(proposals=proposals)
    )
    told = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", seco.correction.mixture.NoNoiseFoundWarning)
        chained = run_chain(
            find_inputs(work / "images", work / "labels"), work / "out", refiner,
            settings=SCCSettings(iterations=2), options=JobOptions(report=told.append),
        )  # fmt: skip
    assert Counter(one.status for one in told[:6]) == {"skipped": 5, "failed": 1}
    assert [one.name for one in chained.failures] == ["part0/0_gtFine_labelTrainIds"]
    assert len(chained.finished.files) == 5


QUICK = SCCSettings(iterations=4, batch_size=4)


def fit(
    work: Path, labels: str = "labels", connectivities: Path | None = None, **options: object
) -> Summary:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", seco.correction.mixture.NoNoiseFoundWarning)
        return fit_folder(
            find_inputs(work / "images", work / labels), work / "corrector",
            label_space=CITYSCAPES, settings=QUICK, checkpoint_every=1,
            connectivities=connectivities, options=JobOptions(**options),
        )  # fmt: skip


def test_fitting_is_done_once_and_again_when_a_label_changes(work):
    data = (work / "labels/part0/0.png").read_bytes()
    (work / "labels/part0/0.png").write_bytes(data[: len(data) // 2])
    summary = fit(work)
    assert [outcome.name for outcome in summary.of("failed")] == ["part0/0"]
    assert summary.outcomes[-1].facts["samples"] == 5
    first = (work / "corrector/corrector.json").read_bytes()
    (work / "corrector/corrector-notes.txt").write_text("a note is nobody's output")
    again = fit(work)
    assert [(one.name, one.status) for one in again.outcomes] == [
        ("part0/0", "failed"), ("corrector", "skipped"),
    ]  # fmt: skip
    (tensors,) = (work / "corrector").glob("*.safetensors")
    tensors.write_bytes(tensors.read_bytes()[:-1])
    assert statuses(fit(work)) == {"failed": 1, "written": 1}
    assert (work / "corrector/corrector.json").read_bytes() == first
    (work / "labels/part0/0.png").write_bytes(data)
    assert statuses(fit(work)) == {"written": 1}
    assert (work / "corrector/corrector.json").read_bytes() != first
    settings = SCCSettings(iterations=5)
    with pytest.raises(ValueError, match=r"settings\.scc\.iterations is 5, was 4"):
        fit_folder(
            find_inputs(work / "images", work / "labels"), work / "corrector",
            label_space=CITYSCAPES, settings=settings,
        )  # fmt: skip


def test_no_corrector_of_other_settings_stays_where_a_fit_has_begun(work, monkeypatch):
    fit(work)
    monkeypatch.setattr(ConnectivityCorrector, "fit", lambda self, samples, **more: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fit_folder(
            find_inputs(work / "images", work / "labels"), work / "corrector",
            label_space=CITYSCAPES, settings=SCCSettings(iterations=5),
            options=JobOptions(take_over=True),
        )  # fmt: skip
    assert not list((work / "corrector").glob("corrector*"))


def test_a_stopped_training_goes_on_unless_the_data_are_others(work, monkeypatch):
    fit(work)
    undisturbed = (work / "corrector/corrector.json").read_bytes()
    shutil.rmtree(work / "corrector")
    monkeypatch.setattr(ConnectivityCorrector, "save", lambda self, folder: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fit(work)
    monkeypatch.undo()
    (state,) = (work / "corrector/.job").glob("state-*/training.safetensors")
    reached = state.stat().st_mtime_ns
    shutil.copytree(work / "corrector", work / "stopped")
    fitted, real = [], ConnectivityCorrector.fit

    def spy(self, samples, *, checkpoint, **more):
        fitted.append(checkpoint.exists() and checkpoint.stat().st_mtime_ns)
        return real(self, samples, checkpoint=checkpoint, **more)

    monkeypatch.setattr(ConnectivityCorrector, "fit", spy)
    assert statuses(fit(work)) == {"written": 1}
    assert fitted == [reached]
    assert (work / "corrector/corrector.json").read_bytes() == undisturbed
    assert not list((work / "corrector/.job").glob("state-*"))
    shutil.rmtree(work / "corrector")
    (work / "stopped").rename(work / "corrector")
    write_label(work / "labels/part0/0.png", np.zeros(SIZE, np.uint8), CITYSCAPES)
    fit(work)
    assert fitted == [reached, False]


def test_the_memory_for_features_is_the_callers(work):
    encoder = torch.nn.Conv2d(3, 4, 4, stride=4, bias=False)
    torch.nn.init.ones_(encoder.weight)
    inputs = find_inputs(work / "images", work / "labels")
    options = {"settings": QUICK, "encoder": encoder, "feature_memory": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", seco.correction.mixture.NoNoiseFoundWarning)
        with pytest.warns(UserWarning, match="feature_memory: .* hold the features of 0 images"):
            fit_folder(inputs, work / "corrector", label_space=CITYSCAPES, **options)


def test_a_network_to_be_trained_counts_by_the_weights_it_starts_from(work):
    def fit_with(seed: int) -> Summary:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = torch.nn.Conv2d(3, 4, 4, stride=4)
        encoder = ModuleExtractor(network, trained=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", seco.correction.mixture.NoNoiseFoundWarning)
            return fit_folder(
                find_inputs(work / "images", work / "labels"), work / "corrector",
                label_space=CITYSCAPES, settings=SCCSettings(iterations=2), encoder=encoder,
            )  # fmt: skip

    assert statuses(fit_with(0)) == {"written": 1}
    assert statuses(fit_with(0)) == {"skipped": 1}
    with pytest.raises(ValueError, match=r"models\.encoder is .*initial weights"):
        fit_with(1)


class Wrapped:
    """A user's own segmenter: the tiny SAM's answers, told apart as the attributes say."""

    device = torch.device("cpu")

    def __init__(self, **attributes: object) -> None:
        vars(self).update(attributes)

    def encode(self, images):
        return seco.load_sam("tiny").encode(images)

    def decode(self, embedding, *, boxes=None, points=None, point_labels=None, multimask=False):
        return seco.load_sam("tiny").decode(
            embedding, boxes=boxes, points=points, point_labels=point_labels, multimask=multimask
        )


def test_segmenters_of_ones_own_are_told_apart_or_refused(work):
    def find(sam: object) -> Summary:
        settings = seco.ProposalSettings(**(vars(PROPOSALS) | {"points_per_side": 1}))
        inputs = find_inputs(work / "images")
        return find_regions(inputs, work / "found", sam, settings=settings)

    with pytest.raises(ValueError, match=r"Wrapped: expected .* a method describe\(\)"):
        find(Wrapped())
    for layers in (0, 1):  # nor may it be the encoder of a corrector
        encoder = SegmenterExtractor(Wrapped(), crop_n_layers=layers)
        with pytest.raises(ValueError, match=r"Wrapped: expected .* a method describe\(\)"):
            manifest_of("job", {}, {"encoder": encoder})
    networks = [torch.nn.Linear(1, 1, bias=False) for _ in range(2)]
    for value, network in enumerate(networks):
        torch.nn.init.constant_(network.weight, value)
    pairs = (
        [Wrapped(network=network) for network in networks],
        [Wrapped(describe=lambda value=value: {"threshold": value}) for value in range(2)],
    )
    for first, second in pairs:
        assert statuses(find(first)) == {"written": 6}
        assert statuses(find(first)) == {"skipped": 6}
        with pytest.raises(ValueError, match=r"models\.sam is "):
            find(second)
        shutil.rmtree(work / "found")


def test_weights_are_hashed_once_for_a_manifest(monkeypatch):
    hashed = []
    monkeypatch.setattr(
        segmenter_extractor, "fingerprint", lambda module: f"{hashed.append(module)}"
    )
    sam = seco.load_sam("tiny")
    manifest_of("job", {}, {"encoder": SegmenterExtractor(sam, crop_n_layers=1)})
    assert hashed == [sam.model]


def test_the_manifest_names_the_library_of_a_model():
    sam = seco.load_sam("tiny")
    for model in (sam, sam.model, SegmenterExtractor(sam)):
        versions = manifest_of("job", {}, {"sam": model}).versions
        assert versions["segment-anything"].count(".") >= 1
    for model in (None, torch.nn.Linear(1, 1), ModuleExtractor(torch.nn.Conv2d(3, 2, 1))):
        assert "segment-anything" not in manifest_of("job", {}, {"sam": model}).versions


def test_a_predictor_is_described_as_the_model_that_it_holds(work):
    sam = seco.load_sam("tiny")
    proposals = seco.ProposalSettings(**(vars(PROPOSALS) | {"points_per_side": 1}))
    settings = seco.PSASettings(proposals=proposals)
    inputs = find_inputs(work / "images", work / "labels")
    wrapped = torch.nn.Module()
    wrapped.module = sam.model
    for held, status in ((sam, "written"), (SamPredictor(sam.model), "skipped"),
                         (wrapped, "skipped")):  # fmt: skip
        refiner = Refiner(held, CITYSCAPES, settings=settings)
        assert statuses(refine_folder(inputs, work / "psa", refiner)) == {status: 6}


def test_nothing_usable_to_fit_is_refused_and_costs_no_former_corrector(work):
    fit(work)
    former = (work / "corrector" / CORRECTOR_FILE).read_bytes()
    for path in (work / "labels").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="expected at least one usable image"):
        fit(work)
    assert (work / "corrector" / CORRECTOR_FILE).read_bytes() == former


def test_correcting_is_what_the_corrector_does(work):
    fit(work)
    inputs = find_inputs(work / "images", work / "labels")
    summary = correct_folder(inputs, work / "corrector", work / "corrected")
    assert statuses(summary) == {"written": 6}
    corrector = ConnectivityCorrector.load(work / "corrector")
    for seed in range(6):
        image, _, speckled = scene(seed)
        expected = corrector.correct_with_details(image, speckled)
        name = f"part{seed % 2}/{seed}"
        assert (read_label(work / f"corrected/{name}.png") == expected.labels[0].numpy()).all()
        facts = summary.facts()[name]
        regions = len(expected.judgements[0].losses)
        assert facts["kept"] + facts["corrected"] + facts["dropped"] == regions
    fit(work, overwrite=True)
    assert statuses(correct_folder(inputs, work / "corrector", work / "corrected")) == {
        "skipped": 6
    }
    write_label(work / "labels/part0/0.png", np.zeros(SIZE, np.uint8), CITYSCAPES)
    fit(work)
    assert statuses(correct_folder(inputs, work / "corrector", work / "corrected")) == {
        "written": 6
    }


def vote_in_parts(work: Path) -> Summary:
    """Refine with regions of one class that touch each other, as two cars do."""
    for seed in range(6):
        _, label, _ = scene(seed)
        parts = label.astype(np.int64) + 1
        parts[:, 16:] += 100
        name = f"part{seed % 2}/{seed}"
        seco.Regions.from_label_map(torch.from_numpy(parts)).save(work / f"regions/{name}.npz")
    return vote(work, "refined", OutputFormat(connectivities=work / "parts"))


def correct(work: Path, out: str, **options: object) -> Summary:
    inputs = find_inputs(work / "images", work / "refined")
    return correct_folder(inputs, work / "corrector", work / out, **options)


def test_what_refining_found_is_fitted_and_corrected_and_not_its_components(work):
    assert statuses(vote_in_parts(work)) == {"written": 6}
    assert statuses(fit(work, "refined", work / "parts")) == {"written": 1}
    after = OutputFormat(connectivities=work / "after")
    done = correct(work, "corrected", connectivities=work / "parts", output=after)
    found = []
    for seed in range(6):
        image, _, speckled = scene(seed)
        regions = seco.Regions.load(work / f"regions/part{seed % 2}/{seed}.npz")
        refined = seco.refine_with_details(image, speckled, regions=regions)
        found.append((image, refined.labels[0].numpy(), refined.connectivities[0]))
    # In the order of the folder.
    order = sorted(range(6), key=lambda seed: f"part{seed % 2}/{seed}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", seco.correction.mixture.NoNoiseFoundWarning)
        corrector = ConnectivityCorrector(CITYSCAPES, settings=QUICK).fit(
            [(found[seed][0], found[seed][2]) for seed in order]
        )
    saved = ConnectivityCorrector.load(work / "corrector")
    assert torch.equal(saved.record.losses, corrector.record.losses)
    assert len(saved.record.losses) == sum(len(parts) for _, _, parts in found) > 3 * 6
    for seed, (image, label, parts) in enumerate(found):
        name = f"part{seed % 2}/{seed}"
        expected = corrector.correct_with_details(image, label, connectivities=parts)
        assert (read_label(work / f"corrected/{name}.png") == expected.labels[0].numpy()).all()
        facts = done.facts()[name]
        assert facts["kept"] + facts["corrected"] + facts["dropped"] == len(parts)
        left = expected.judgements[0].corrected()
        kept = read_connectivities(work / f"after/{name}.npz")
        for one in ("ids", "classes", "scores"):
            assert torch.equal(getattr(kept, one), getattr(left, one))
    # Without them it is another corrector, of the components.
    with pytest.raises(ValueError, match=r"settings\.connectivities is False, was True"):
        fit(work, "refined")
    with (
        pytest.warns(UserWarning, match="was fitted to the regions of refined labels"),
        pytest.raises(ValueError, match=r"settings\.connectivities is False, was True"),
    ):
        correct(work, "corrected", output=after)


def test_confidences_are_fitted_corrected_and_evaluated_with_or_not_at_all(work):
    output = OutputFormat(scores=work / "scores", connectivities=work / "parts")
    assert statuses(vote(work, "refined", output)) == {"written": 6}
    with_scores = find_inputs(work / "images", work / "refined", confidence=work / "scores")
    without = find_inputs(work / "images", work / "refined")
    chosen = {"label_space": CITYSCAPES, "settings": QUICK, "connectivities": work / "parts"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", seco.correction.mixture.NoNoiseFoundWarning)
        fit_folder(with_scores, work / "corrector", **chosen)
        with pytest.raises(ValueError, match=r"settings\.witness is none, was confidence"):
            fit_folder(without, work / "corrector", **chosen)
        some = replace(without, files=(*without.files[:2], *with_scores.files[2:]))
        with pytest.raises(ValueError, match=r"as others have one, got none of 2, part0/0 for one"):
            fit_folder(some, work / "other", **chosen)
    corrector = ConnectivityCorrector.load(work / "corrector")
    parts = {"connectivities": work / "parts"}
    with pytest.raises(ValueError, match=r"expected one of every image, as .* was fitted with"):
        correct_folder(without, work / "corrector", work / "corrected", **parts)
    assert not (work / "corrected").exists()
    done = correct_folder(with_scores, work / "corrector", work / "corrected", **parts)
    assert statuses(done) == {"written": 6}
    for files in with_scores.files:
        expected = corrector.correct(
            read_image(files.image),
            read_label(files.label),
            connectivities=read_connectivities(work / f"parts/{files.name}.npz"),
            confidence=read_confidence(files.confidence),
        )
        assert (read_label(work / f"corrected/{files.name}.png") == expected).all()
    pairs = {"images": work / "images", "confidence": work / "scores"}
    found = find_pairs(work / "refined", work / "labels", **pairs)
    measured = evaluate_folder(found, CITYSCAPES, corrector=corrector, **parts)
    assert len(measured.connectivities) == len(corrector.record.losses)
    counted = np.sort(measured.connectivities.losses)
    np.testing.assert_allclose(counted, np.sort(corrector.record.losses), atol=1e-6)
    del pairs["confidence"]
    bare = find_pairs(work / "refined", work / "labels", **pairs)
    with pytest.raises(ValueError, match="as the corrector was fitted with them"):
        evaluate_folder(bare, CITYSCAPES, corrector=corrector, **parts)


def test_judging_other_units_than_were_fitted_is_told(work):
    vote_in_parts(work)
    fit(work, "refined", work / "parts")
    with pytest.warns(UserWarning, match="corrector: was fitted to the regions of refined labels"):
        correct(work, "by components")
    correct(work, "by regions", connectivities=work / "parts")  # no warning, or the test fails
    (work / "corrector/manifest.json").unlink()  # as ConnectivityCorrector.save leaves it
    correct(work, "unknown")
    fit(work, "refined", overwrite=True)
    told = "corrector: was fitted to the connected components of labels"
    with pytest.warns(UserWarning, match=told):
        correct(work, "other way round", connectivities=work / "parts")
    correct(work, "both by components")
    refiner = Refiner(None, CITYSCAPES, regions=work / "regions", corrector=work / "corrector")
    with pytest.warns(UserWarning, match=told):
        refine_folder(find_inputs(work / "images", work / "labels"), work / "out", refiner)
    shutil.copy(work / "regions/part0/0.npz", work / "regions")
    one = single_input(work / "images/part0/0.png", work / "labels/part0/0.png")
    with pytest.warns(UserWarning, match=told):
        refine_file(one, work / "one.png", None, refiner)


def test_connectivities_are_outputs_and_inputs_as_labels_are(work):
    vote_in_parts(work)
    fit(work, "refined", work / "parts")
    path = work / "parts/part0/0.npz"
    data = path.read_bytes()
    path.unlink()
    assert statuses(vote_in_parts(work)) == {"written": 1, "skipped": 5}
    assert path.read_bytes() == data
    assert statuses(fit(work, "refined", work / "parts")) == {"skipped": 1}
    correct(work, "corrected", connectivities=work / "parts")
    item = read_connectivities(path)
    write_connectivities(path, replace(item, scores=item.scores / 2))
    done = correct(work, "corrected", connectivities=work / "parts")
    assert statuses(done) == {"written": 1, "skipped": 5}
    assert statuses(fit(work, "refined", work / "parts")) == {"written": 1}
    with pytest.raises(ValueError, match="layout is palette, was palette and connectivities"):
        vote(work, "refined")


def test_connectivities_of_another_label_are_refused(work):
    vote_in_parts(work)
    label = read_label(work / "refined/part0/0.png")
    write_label(work / "refined/part0/0.png", np.where(label == 13, 0, label), CITYSCAPES)
    parts = work / "parts"
    item = read_connectivities(parts / "part1/1.npz")
    write_connectivities(parts / "part1/1.npz", replace(item, ids=item.ids[:5, :5]))
    (parts / "part0/2.npz").unlink()
    (parts / "part1/3.npz").write_bytes((parts / "part1/3.npz").read_bytes()[:100])
    reasons = {
        "part0/0": "0.npz: expected the connectivities of this label, got those of another "
        "version of it (80 pixels have another class)",
        "part1/1": "1.npz: connectivities: expected the size (24, 32) of the image, got (5, 5)",
        "part0/2": "No such file",
        "part1/3": "3.npz: expected a label's connectivities, got ",
    }
    for done in (fit(work, "refined", parts), correct(work, "out", connectivities=parts)):
        failed = {outcome.name: outcome.reason for outcome in done.of("failed")}
        assert failed.keys() == reasons.keys()
        for name, reason in reasons.items():
            assert reason in failed[name]
    assert done.of("written")
    assert not (work / "out/part0/0.png").exists()


def test_a_new_corrector_refines_anew_and_a_corrector_at_all_is_a_setting(work):
    def refine(corrector: Path | None) -> Summary:
        refiner = Refiner(None, CITYSCAPES, regions=work / "regions", corrector=corrector)
        inputs = find_inputs(work / "images", work / "labels")
        return refine_folder(inputs, work / "out", refiner)

    vote_in_parts(work)
    fit(work, "refined", work / "parts")
    assert statuses(refine(work / "corrector")) == {"written": 6}
    assert statuses(refine(work / "corrector")) == {"skipped": 6}
    (work / "refined/part0/0.png").write_bytes(b"")
    assert statuses(fit(work, "refined", work / "parts")) == {"failed": 1, "written": 1}
    assert statuses(refine(work / "corrector")) == {"written": 6}
    with pytest.raises(ValueError, match=r"settings\.corrector is False, was True"):
        refine(None)


@pytest.mark.parametrize(
    ("space", "layout"),
    [
        (replace(CITYSCAPES, ignore_index=65535), "palette"),
        (seco.LabelSpace(tuple(map(str, range(252)))), "proda"),
    ],
)
def test_ids_that_cannot_be_written_are_refused_before_the_work(work, space, layout):
    output, inputs = OutputFormat(layout), find_inputs(work / "images", work / "labels")
    with pytest.raises(ValueError, match=r"label_space: expected ids in 0\.\.255"):
        refine_folder(
            inputs, work / "out", Refiner(None, space, regions=work / "regions"), output=output
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", seco.correction.mixture.NoNoiseFoundWarning)
        image, label, _ = scene(0)
        corrector = ConnectivityCorrector(space, settings=QUICK)
        corrector.fit([(image, label.astype(np.uint16))]).save(work / "corrector")
    with pytest.raises(ValueError, match=r"label_space: expected ids in 0\.\.255"):
        correct_folder(inputs, work / "corrector", work / "out", output=output)
    assert not (work / "out").exists()


def test_a_corrector_for_other_classes_is_refused_before_the_work(work):
    fit(work)
    refiner = Refiner(None, seco.CAMVID, regions=work / "regions", corrector=work / "corrector")
    with pytest.raises(ValueError, match="corrector: expected one for label_space"):
        refine_folder(find_inputs(work / "images", work / "labels"), work / "out", refiner)
    assert not (work / "out").exists()
