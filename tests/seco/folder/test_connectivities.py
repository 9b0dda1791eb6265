"""Regions of refined labels, handed on from refining to fitting and correcting."""

from __future__ import annotations

import shutil
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from folder_stages import QUICK, correct, fit, scene, vote, vote_in_parts
from outcomes import statuses

import seco
from seco import CITYSCAPES, ConnectivityCorrector
from seco.common.files import read_label, write_label
from seco.folder import (
    OutputFormat,
    Refiner,
    find_inputs,
    refine_file,
    refine_folder,
    single_input,
)
from seco.folder.connectivities import read_connectivities, write_connectivities


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


def refiner(work):
    return Refiner(None, CITYSCAPES, regions=work / "regions", corrector=work / "corrector")


def test_judging_other_units_than_were_fitted_is_told(work):
    vote_in_parts(work)
    fit(work, "refined", work / "parts")
    with pytest.warns(UserWarning, match="corrector: was fitted to the regions of refined labels"):
        correct(work, "by components")
    correct(work, "by regions", connectivities=work / "parts")  # no warning, or the test fails
    fit(work, "refined", overwrite=True)
    told = "corrector: was fitted to the connected components of labels"
    with pytest.warns(UserWarning, match=told):
        correct(work, "other way round", connectivities=work / "parts")
    correct(work, "both by components")
    with pytest.warns(UserWarning, match=told) as warned:
        refine_folder(find_inputs(work / "images", work / "labels"), work / "out", refiner(work))
    assert len(warned) == 1  # of the whole job
    shutil.copy(work / "regions/part0/0.npz", work / "regions")
    one = single_input(work / "images/part0/0.png", work / "labels/part0/0.png")
    with pytest.warns(UserWarning, match=told):
        refine_file(one, work / "one.png", None, refiner(work))


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
