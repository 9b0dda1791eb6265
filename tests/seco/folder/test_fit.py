"""Fitting correctors to folders."""

from __future__ import annotations

import shutil
import warnings

import numpy as np
import pytest
import torch
from folder_stages import QUICK, SIZE, fit
from outcomes import statuses

import seco
from seco import CITYSCAPES, ConnectivityCorrector, SCCSettings
from seco.common.files import write_label
from seco.common.jobs import JobOptions, Summary
from seco.correction.extractors import ModuleExtractor
from seco.correction.storage import CORRECTOR_FILE
from seco.folder import (
    find_inputs,
    fit_folder,
)


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


def test_nothing_usable_to_fit_is_refused_and_costs_no_former_corrector(work):
    fit(work)
    former = (work / "corrector" / CORRECTOR_FILE).read_bytes()
    for path in (work / "labels").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="expected at least one usable image"):
        fit(work)
    assert (work / "corrector" / CORRECTOR_FILE).read_bytes() == former


def test_labels_without_a_class_are_told_as_such(work):
    """Not as connectivities that are too small, which no setting would make larger."""
    for path in (work / "labels").rglob("*.png"):
        write_label(path, np.full(SIZE, 255, np.uint8), CITYSCAPES)
    (work / "labels/part0/0.png").write_bytes(b"")
    said = "labels: expected at least one with a class at some pixel, got none of 5: all pixels"
    with pytest.raises(ValueError, match=said):
        fit(work)
    assert not (work / "corrector" / CORRECTOR_FILE).exists()
