"""Finding the regions of folders."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from dataclasses import replace

import pytest
from folder_stages import SIZE
from outcomes import statuses

import seco
from seco import CITYSCAPES, SCCSettings
from seco.common.jobs import JobOptions
from seco.folder import (
    Refiner,
    find_inputs,
    find_regions,
    refine_file,
    refine_folder,
)
from seco.folder.chain import run_chain
from seco.sam.tiny import PROPOSALS


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
    # What is finished is not, once its image is another one.
    image.write_bytes((work / "images/part1/1.png").read_bytes())
    summary = refine()
    assert statuses(summary) == {"skipped": 5, "failed": 1}
    assert "those of another version" in summary.of("failed")[0].reason
    assert not (work / "new/part0/0.png").exists()
    # Regions of one's own: nobody knows which image they are of, or asks for it.
    (work / "found/manifest.json").unlink()
    assert statuses(refine()) == {"written": 6}
    image.write_bytes(other.read_bytes())
    assert statuses(refine()) == {"skipped": 6}


def test_an_image_that_is_gone_is_not_called_another_version(work):
    settings = seco.ProposalSettings(**(vars(PROPOSALS) | {"points_per_side": 1}))
    found = find_inputs(work / "images")
    find_regions(found, work / "found", seco.load_sam("tiny"), settings=settings)
    every = find_inputs(work / "images", work / "labels")
    refiner = Refiner(None, CITYSCAPES, regions=work / "found", outside="keep")
    assert statuses(refine_folder(every, work / "new", refiner)) == {"written": 6}
    gone = work / "images/part0/0.png"
    gone.unlink()
    summary = refine_folder(every, work / "new", refiner)
    assert statuses(summary) == {"skipped": 5, "failed": 1}
    assert "No such file" in summary.of("failed")[0].reason
    alone = replace(every, files=every.files[:1])
    with pytest.raises(FileNotFoundError, match=f"{gone}: no such image"):
        refine_file(alone, work / "one.png", None, refiner)
    own = Refiner(None, CITYSCAPES, regions=work / "regions", outside="keep")
    refine_file(alone, work / "one.png", None, own)
    assert (work / "one.png").exists()


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


def test_regions_that_stayed_when_others_were_found_anew_are_not_used(work):
    sam, every = seco.load_sam("tiny"), find_inputs(work / "images")
    one, two = (
        seco.ProposalSettings(**(vars(PROPOSALS) | {"points_per_side": side})) for side in (1, 2)
    )
    find_regions(every, work / "found", sam, settings=one)
    some = replace(every, files=every.files[:2])
    with pytest.warns(UserWarning, match="outputs of other settings stay there"):
        find_regions(some, work / "found", sam, settings=two, options=JobOptions(overwrite=True))

    def refine():
        refiner = Refiner(None, CITYSCAPES, regions=work / "found", outside="keep")
        return refine_folder(find_inputs(work / "images", work / "labels"), work / "new", refiner)

    done = refine()
    assert statuses(done) == {"written": 2, "failed": 4}
    told = "expected regions found as manifest.json says, got those that other settings"
    assert all(told in outcome.reason for outcome in done.of("failed"))
    assert statuses(find_regions(every, work / "found", sam, settings=two)) == {
        "skipped": 2, "written": 4,
    }  # fmt: skip
    assert statuses(refine()) == {"skipped": 2, "written": 4}
