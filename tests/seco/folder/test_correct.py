"""Correcting folders by their components."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from folder_stages import QUICK, SIZE, fit, scene, vote
from outcomes import statuses

import seco
from seco import CITYSCAPES, ConnectivityCorrector
from seco.common.files import read_confidence, read_image, read_label, write_label
from seco.folder import (
    OutputFormat,
    correct_folder,
    find_inputs,
    fit_folder,
)
from seco.folder.connectivities import read_connectivities
from seco.folder.evaluate import evaluate_folder, find_pairs


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
