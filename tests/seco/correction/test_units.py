"""A corrector knows whether it learnt from regions or components, and warns of the others."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch
from patches import SPACE, Colour, patches

import seco
from seco import Connectivities, ConnectivityCorrector, SCCSettings

IMAGE, LABEL, _ = patches(9, wrong=0.2)


def as_regions(label):
    found = seco.connected_components(label)
    ids, classes = torch.from_numpy(found.ids), torch.from_numpy(found.classes)
    return Connectivities(ids, classes, torch.ones(len(found)))


def refine(corrector, how):
    found = seco.Regions.from_label_map(as_regions(LABEL).ids.long())
    return how(IMAGE, LABEL, regions=found, label_space=SPACE, corrector=corrector)


def refine_in_loop(corrector):
    found = seco.Regions.from_label_map(as_regions(LABEL).ids.long())
    label = torch.from_numpy(LABEL).long()[None]
    image = torch.from_numpy(IMAGE).permute(2, 0, 1)[None] / 255
    seco.refine_in_loop(
        image, label, torch.ones(label.shape), regions=found, label_space=SPACE,
        corrector=corrector,
    )  # fmt: skip


BY_COMPONENTS = {
    "correct": lambda c: c.correct(IMAGE, LABEL),
    "losses": lambda c: c.losses(IMAGE, LABEL),
}
BY_REGIONS = {
    "correct": lambda c: c.correct(IMAGE, LABEL, connectivities=as_regions(LABEL)),
    "refine": lambda c: refine(c, seco.refine_pseudo_labels),
    "refine with details": lambda c: refine(c, seco.refine_with_details),
    "in a loop": refine_in_loop,
}


def fit(*, regions):
    """``regions``: which samples come with them."""
    samples = [patches(seed, wrong=0.2)[:2] for seed in range(3)]
    samples = [
        (image, as_regions(label) if index in regions else label)
        for index, (image, label) in enumerate(samples)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", seco.NoNoiseFoundWarning)
        settings = SCCSettings(iterations=5)
        return ConnectivityCorrector(SPACE, Colour(), settings=settings).fit(samples)


@pytest.mark.parametrize("how", BY_COMPONENTS)
def test_components_for_one_fitted_to_regions(how):
    corrector = fit(regions=(0, 1, 2))
    for call in BY_REGIONS.values():
        call(corrector)  # a warning fails the test
    with pytest.warns(UserWarning, match="fitted to the regions .* give the regions, connectivi"):
        BY_COMPONENTS[how](corrector)


@pytest.mark.parametrize("how", BY_REGIONS)
def test_regions_for_one_fitted_to_components(how):
    corrector = fit(regions=())
    for call in BY_COMPONENTS.values():
        call(corrector)
    with pytest.warns(UserWarning, match=r"fitted to the connected components .* fit it to sampl"):
        BY_REGIONS[how](corrector)


@pytest.mark.parametrize("how", ["refine with details", "in a loop"])
def test_the_line_that_is_told_is_the_callers(how):
    with pytest.warns(UserWarning, match="fitted to the") as told:
        BY_REGIONS[how](fit(regions=()))
    assert told[0].filename == __file__


def test_what_another_process_tells_is_told():
    corrector = fit(regions=())
    corrector.warn_if_fitted_otherwise(regions=True, aloud=False)
    for call in BY_REGIONS.values():
        call(corrector)  # a warning fails the test


def test_it_is_said_once_whatever_the_filter():
    corrector = fit(regions=())
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(2):
            for call in BY_REGIONS.values():
                call(corrector)
    assert len(told) == 1


def test_of_some_of_both_nothing_is_said():
    corrector = fit(regions=(1,))
    assert corrector.record.regions is None
    for call in (*BY_REGIONS.values(), *BY_COMPONENTS.values()):
        call(corrector)


def test_it_is_saved_and_files_without_it_are_silent(tmp_path):
    fit(regions=(0, 1, 2)).save(tmp_path)
    loaded = ConnectivityCorrector.load(tmp_path, encoder=Colour())
    with pytest.warns(UserWarning, match="fitted to the regions of refined labels"):
        loaded.correct(IMAGE, LABEL)
    path = tmp_path / "corrector.json"
    said = json.loads(path.read_text())
    del said["regions"]
    path.write_text(json.dumps(said))
    ConnectivityCorrector.load(tmp_path, encoder=Colour()).correct(IMAGE, LABEL)


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        ((IMAGE,), r"samples\[0\]: expected \(img, label\) .* the label a map or seco.Connectivi"),
        ((IMAGE, [as_regions(LABEL)]), r"samples\[0\]: label: .* the seco.Connectivities of one"),
    ],
)
def test_a_sample_of_another_form_is_told_what_it_may_be(sample, said):
    with pytest.raises(TypeError, match=said):
        ConnectivityCorrector(SPACE, Colour()).fit([sample])


def test_a_failing_fit_costs_no_fitted_state():
    corrector = fit(regions=())
    before = corrector.losses(IMAGE, LABEL)
    for samples in (IMAGE[0, 0, 0], [(IMAGE, LABEL), "x"], [(IMAGE, np.full_like(LABEL, 255))]):
        with pytest.raises((TypeError, ValueError)):
            corrector.fit(samples)
    assert torch.equal(corrector.losses(IMAGE, LABEL), before)
