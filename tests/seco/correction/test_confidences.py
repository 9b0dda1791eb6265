"""How sure the labels are, as a second witness beside the classifier."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from patches import SPACE, Colour, patches

import seco
from seco import Connectivities, ConnectivityCorrector, SCCSettings
from seco.correction.decision import DROP, KEEP
from seco.correction.mixture import NoNoiseFoundWarning
from seco.correction.samples import mean_confidences

QUICK = SCCSettings(
    iterations=60, batch_size=32, learning_rate=0.05, tau_cr=0.55, noise_adjusted=False
)


def sure_of(label, truth, seed, *, low=0.4, high=1.0):
    """A model that is less sure where it is wrong, and speckled all over."""
    noise = np.random.default_rng([seed, 7]).uniform(-0.2, 0.0, label.shape)
    return (np.where(label == truth, high, low) + noise).astype(np.float32)


def samples(count=12, *, wrong=0.2):
    found = []
    for seed in range(count):
        image, label, truth = patches(seed, wrong=wrong)
        found.append((image, label, sure_of(label, truth, seed)))
    return found


def fit(data, **settings):
    chosen = SCCSettings(**(vars(QUICK) | settings))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoNoiseFoundWarning)
        return ConnectivityCorrector(SPACE, Colour(), settings=chosen).fit(data)


@pytest.fixture(scope="module")
def fitted():
    return fit(samples())


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 5), st.integers(0, 99))
def test_means_are_those_of_a_loop(height, width, count, seed):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, count + 1, (height, width))
    confidence = rng.random((height, width)).astype(np.float32)
    item = Connectivities(
        torch.from_numpy(ids).int(), torch.zeros(count, dtype=torch.int64), torch.ones(count)
    )
    expected = [confidence[ids == n].mean() if (ids == n).any() else 1 for n in range(1, count + 1)]
    found = mean_confidences(item, torch.from_numpy(confidence))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("neighbours", [0, 5])
def test_they_add_their_logarithm_to_the_loss_and_change_no_weight(neighbours):
    data = samples(4)
    alone = fit([pair[:2] for pair in data], neighbours=neighbours)
    both = fit(data, neighbours=neighbours)
    for one, other in zip(
        alone._fitted[0].head(6).parameters(), both._fitted[0].head(6).parameters(), strict=True
    ):
        assert torch.equal(one, other)
    doubt = []
    for image, label, sure in data:
        components = seco.connected_components(label)
        means = [sure[components.ids == n].mean() for n in range(1, len(components) + 1)]
        doubt += [-np.log(max(mean, 0.02)) for mean in means]
        kept = alone.losses(image, label) - torch.tensor(means).clamp(min=0.02).log()
        np.testing.assert_allclose(both.losses(image, label, confidence=sure), kept, atol=1e-4)
    np.testing.assert_allclose(both.record.losses - alone.record.losses, doubt, atol=1e-4)


def test_what_no_feature_tells_is_told_by_the_confidence():
    # Every class looks the same, so that the classifier knows nothing.
    data = []
    for seed in range(8):
        image, label, truth = patches(seed, wrong=0.25)
        sure = sure_of(label, truth, seed, low=0.25)
        data.append((np.full_like(image, 90), label, sure, label != truth))
    corrector = fit([item[:3] for item in data])
    for image, label, sure, wrong in data:
        judged = corrector.correct_with_details(image, label, confidence=sure).judgements[0]
        _, first = np.unique(seco.connected_components(label).ids, return_index=True)
        noisy = wrong.flatten()[first[1:]]  # 0 is no component
        actions = judged.decisions.actions.numpy()
        assert (actions[noisy] == DROP).all()
        assert (actions[~noisy] == KEEP).all()


def test_a_corrector_that_counts_them_asks_for_them(fitted, tmp_path):
    image, label, sure = samples(1)[0]
    fitted.save(tmp_path)
    loaded = ConnectivityCorrector.load(tmp_path, encoder=Colour())
    for corrector in (fitted, loaded):
        with pytest.raises(ValueError, match=r"confidence: expected one, since .* got None"):
            corrector.correct(image, label)
    expected = fitted.correct(image, label, confidence=sure)
    np.testing.assert_array_equal(loaded.correct(image, label, confidence=sure), expected)
    # One that was saved before there was such a thing counts none.
    header = tmp_path / "corrector.json"
    said = json.loads(header.read_bytes())
    del said["confident"]
    header.write_text(json.dumps(said))
    assert not ConnectivityCorrector.load(tmp_path, encoder=Colour()).record.confident


def test_one_that_counts_none_decides_without_them_and_weighs_by_them():
    data = samples(4)
    corrector = fit([pair[:2] for pair in data])
    image, label, sure = data[0]
    plain, weighed = (
        corrector.correct_with_details(image, label, confidence=given) for given in (None, sure)
    )
    assert torch.equal(plain.labels, weighed.labels)
    kept = plain.judgements[0].decisions.actions[0] == KEEP
    assert kept
    inside = plain.judgements[0].connectivities.ids == 1
    expected = plain.scores[0][inside] * torch.from_numpy(sure)[inside]
    torch.testing.assert_close(weighed.scores[0][inside], expected)


def test_refining_hands_its_scores_on():
    data = samples(6)

    def refine(image, label, sure, **options):
        patch = torch.from_numpy(seco.connected_components(label).ids.astype(np.int64))
        regions = seco.Regions.from_label_map(patch)
        return seco.refine_with_details(
            image, label, regions=regions, label_space=SPACE, confidence=sure, **options
        )

    found = [refine(*sample) for sample in data]
    triples = [
        (image, refined.connectivities[0], refined.scores[0].numpy())
        for (image, _, _), refined in zip(data, found, strict=True)
    ]
    corrector = fit(triples)
    both = refine(*data[0], corrector=corrector)
    image, _, scores = triples[0]
    label = found[0].labels[0].numpy()
    after = corrector.correct_with_details(
        image, label, connectivities=found[0].connectivities, confidence=scores
    )
    assert torch.equal(both.labels, after.labels)
    assert torch.equal(both.scores, after.scores)
    assert torch.equal(both.judgements[0].losses, after.judgements[0].losses)


BAD = {
    "some": (lambda: [samples(1)[0], samples(2)[1][:2]], "with all of them or with none, got both"),
    "size": (
        lambda: [(*samples(1)[0][:2], np.ones((4, 4), np.float32))],
        r"samples\[0\]: confidence: expected shape",
    ),
    "range": (
        lambda: [(*samples(1)[0][:2], samples(1)[0][2] + 1)],
        r"samples\[0\]: confidence: expected values in 0-1",
    ),
    "four": (lambda: [(*samples(1)[0], 3)], r"samples\[0\]: expected \(img, label\) or"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_ones_are_named(case):
    make, message = BAD[case]
    with pytest.raises((TypeError, ValueError), match=message):
        fit(make())


def test_another_confidence_at_the_next_reading_is_another_sample():
    image, label, sure = samples(1)[0]
    read = []

    class Changing:
        def __len__(self):
            return 1

        def __getitem__(self, index):
            read.append(index)
            return image, label, sure * 0.9 ** len(read)

    with pytest.raises(ValueError, match="expected the same image and label at every reading"):
        fit(Changing())
