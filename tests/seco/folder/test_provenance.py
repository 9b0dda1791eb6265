"""How models are told apart in the manifests of folders."""

from __future__ import annotations

import shutil

import pytest
import torch
from outcomes import statuses
from segment_anything import SamPredictor

import seco
from seco import CITYSCAPES
from seco.common.jobs import Summary
from seco.correction import segmenter_extractor
from seco.correction.extractors import ModuleExtractor
from seco.correction.segmenter_extractor import SegmenterExtractor
from seco.folder import (
    Refiner,
    find_inputs,
    find_regions,
    refine_folder,
)
from seco.folder.provenance import manifest_of
from seco.sam.tiny import PROPOSALS


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
