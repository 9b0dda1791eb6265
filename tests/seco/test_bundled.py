"""The public call with the bundled models: real networks, real mistakes, small images."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

import seco.aggregation.aggregating
from seco import (
    PSASettings,
    load_sam,
    propose_regions,
    refine_pseudo_labels,
    refine_with_details,
)
from seco.demo import STREETS, street_scene
from seco.demo.scenes import DEV_SEEDS
from seco.demo.segmenter import load_segmenter, predict
from seco.evaluation import confusion
from seco.sam.tiny import PROPOSALS

QUICK = PSASettings(proposals=replace(PROPOSALS, points_per_side=16))


@cache
def scene(seed: int, size: tuple[int, int] = (256, 512)):
    """Image, label, confidence, truth of a camera scene."""
    found = street_scene(seed, size=size)
    image = torch.from_numpy(found.image).permute(2, 0, 1).contiguous()
    label, confidence = predict(load_segmenter(), image[None].float() / 255)
    return image, label[0], confidence[0], found.label


def test_refined_labels_are_better_than_raw():
    sam, raw, refined = load_sam("tiny"), [], []
    for seed in DEV_SEEDS[:6]:
        image, label, confidence, truth = scene(seed, (256, 256))
        after = refine_pseudo_labels(
            image, label, sam, label_space=STREETS, confidence=confidence, outside="keep",
            settings=QUICK,
        )  # fmt: skip
        raw.append(confusion(label.numpy(), truth, STREETS))
        refined.append(confusion(after.numpy(), truth, STREETS))
    raw, refined = sum(raw[1:], raw[0]), sum(refined[1:], refined[0])
    assert refined.mean_iou > raw.mean_iou
    assert refined.accuracy > raw.accuracy


@pytest.mark.parametrize("method", ["psa", "prompts"])
def test_things_asked_about_together_are_those_asked_about_alone(method, monkeypatch):
    """As on a GPU: four images in one pass of the decoder, one of which has no things."""
    images, labels, confidences, _ = zip(*(scene(s, (96, 160)) for s in range(1, 5)), strict=True)
    labels = torch.stack(labels)
    labels[1] = STREETS.names.index("road")
    sam, calls = load_sam("tiny"), []
    several = type(sam).decode_several

    def counted(self, embeddings, counts, **prompts):
        calls.append(list(counts))
        return several(self, embeddings, counts, **prompts)

    options = {
        "label_space": STREETS,
        "confidence": torch.stack(confidences),
        "settings": replace(QUICK, method=method, prompts_per_batch=80),
    }
    alone = refine_with_details(torch.stack(images), labels, sam, **options)
    monkeypatch.setattr(type(sam), "decode_several", counted)
    monkeypatch.setattr(seco.aggregation.aggregating, "images_at_once", lambda *_: 4)
    together = refine_with_details(torch.stack(images), labels, sam, **options)
    assert calls
    assert all(len(counts) > 1 and sum(counts) <= 80 for counts in calls)
    assert (together.labels == alone.labels).float().mean() > 0.999
    torch.testing.assert_close(together.scores, alone.scores, atol=1e-4, rtol=0.01)
    for first, second in zip(together.connectivities, alone.connectivities, strict=True):
        assert first.classes.tolist() == second.classes.tolist()


def test_batch_equals_single_calls():
    sam = load_sam("tiny")
    images, labels, confidences, _ = zip(*(scene(s, (96, 160)) for s in (1, 2)), strict=True)
    options = {"label_space": STREETS, "settings": QUICK}
    together = refine_pseudo_labels(
        torch.stack(images),
        torch.stack(labels),
        sam,
        confidence=torch.stack(confidences),
        **options,
    )
    for index in range(2):
        alone = refine_pseudo_labels(
            images[index], labels[index], sam, confidence=confidences[index], **options
        )
        assert torch.equal(alone, together[index])


def test_same_twice_and_under_autocast():
    sam = load_sam("tiny")
    image, label, confidence, _ = scene(3, (96, 160))
    options = {"label_space": STREETS, "settings": QUICK, "confidence": confidence}
    first = refine_pseudo_labels(image, label, sam, **options)
    with torch.autocast("cpu", torch.bfloat16), torch.enable_grad():
        again = refine_pseudo_labels(image, label, sam, **options)
    assert torch.equal(first, again)
    assert not any(parameter.grad is not None for parameter in sam.model.parameters())


def test_cached_regions_give_what_finding_them_gives():
    sam = load_sam("tiny")
    image, label, _, _ = scene(4, (96, 160))
    options = {"label_space": STREETS, "settings": QUICK}
    regions = propose_regions(image, sam, settings=QUICK.proposals)
    assert torch.equal(
        refine_pseudo_labels(image, label, sam, regions=regions, **options),
        refine_pseudo_labels(image, label, sam, **options),
    )


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("labels_on", ["cpu", "cuda"])
@pytest.mark.parametrize("sam_on", ["cpu", "cuda"])
def test_devices_agree(labels_on, sam_on):
    image, label, confidence, _ = scene(5, (96, 160))
    expected = refine_pseudo_labels(
        image, label, load_sam("tiny"), label_space=STREETS, confidence=confidence, settings=QUICK
    )
    refined = refine_pseudo_labels(
        image.to(labels_on),
        label.to(labels_on),
        load_sam("tiny", device=sam_on),
        label_space=STREETS,
        confidence=confidence.to(labels_on),
        settings=QUICK,
    )
    assert refined.device.type == labels_on
    assert np.mean((refined.cpu() == expected).numpy()) > 0.99
