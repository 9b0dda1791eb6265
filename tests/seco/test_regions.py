from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from seco import LabelSpace, Regions, refine_pseudo_labels
from seco.aggregation.alignment import NamedRegions, count_votes, name_regions
from seco.aggregation.merging import _support_by_atom

MASKS = st.tuples(
    st.integers(0, 2**32 - 1), st.integers(0, 40), st.integers(1, 8), st.integers(1, 8)
)


def random_masks(case):
    seed, count, height, width = case
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.random((count, height, width)) < rng.random((count, 1, 1)))


@given(MASKS)
def test_masks_survive_the_atoms(case):
    masks = random_masks(case)
    regions = Regions.from_masks(masks, torch.linspace(0, 1, len(masks)))
    assert torch.equal(regions.masks(), masks)
    assert torch.equal(regions.areas(), masks.sum(dim=(1, 2)))
    assert not regions.members[:, 0].any()
    outside = ~masks.any(dim=0)
    assert torch.equal(regions.atoms == 0, outside)
    combinations = {tuple(column) for column in masks.flatten(1).T.tolist()}
    present = regions.atoms.unique()
    assert len(present) == len(combinations), "atoms are not maximal"


def test_masks_that_pillow_has_made_are_masks():
    masks = np.zeros((3, 4, 4), bool)
    masks[0, :2], masks[1, 1:], masks[2, :, 2] = True, True, True
    bitmaps = np.stack([np.array(Image.fromarray(mask)) for mask in masks])
    assert bitmaps.view(np.uint8).max() == 255
    assert torch.equal(
        Regions.from_masks(torch.from_numpy(bitmaps)).masks(), torch.from_numpy(masks)
    )


@given(MASKS, st.integers(1, 5))
def test_votes_equal_counting_under_each_mask(case, classes):
    masks = random_masks(case)
    rng = np.random.default_rng(case[0])
    label = torch.from_numpy(rng.integers(-1, classes + 1, masks.shape[1:]))
    counts = count_votes(Regions.from_masks(masks), label, classes)
    for mask, row in zip(masks, counts, strict=True):
        assert row.tolist() == [int((label[mask] == k).sum()) for k in range(classes)]


def test_large_tables_are_never_whole_in_float64():
    """Thousands of superpixels; their table would take gigabytes."""

    class Largest(TorchDispatchMode):
        taken = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor) and out.dtype == torch.float64:
                self.taken = max(self.taken, out.nbytes)
            return out

    count = 4200
    label_map = torch.arange(1, count + 1, dtype=torch.int32).reshape(60, 70)
    regions, label = Regions.from_label_map(label_map), (label_map % 2).numpy()
    with Largest() as largest:
        refined = refine_pseudo_labels(
            None, label, regions=regions, label_space=LabelSpace(names=("a", "b"))
        )
        areas = regions.areas()
    assert (refined == label).all()
    assert (areas == 1).all()
    assert 0 < largest.taken < 8 * count * count


def test_tables_in_parts_give_the_same_bits(monkeypatch):
    rng = torch.Generator().manual_seed(0)
    masks = torch.rand(60, 12, 40, generator=rng) < 0.3
    regions = Regions.from_masks(masks)
    label = torch.randint(0, 5, (12, 40), generator=rng)
    classes = torch.randint(0, 5, (60,), generator=rng)
    shares = torch.rand(60, generator=rng, dtype=torch.float64)
    named = NamedRegions(regions.members, classes, shares)

    def found():
        return [count_votes(regions, label, 5), regions.areas(), *_support_by_atom(named, 5)]

    whole = found()
    expected = named.members.double().T @ torch.nn.functional.one_hot(classes, 5).double()
    monkeypatch.setattr("seco.regions._CELLS", 1000)
    assert len(regions.members.T) > 3 * 1000 // 60
    for one, other in zip(whole, found(), strict=True):
        assert torch.equal(one, other)
    assert ((whole[2] > 0) == (expected > 0)).all()


def test_a_tie_leaves_the_region_unnamed():
    regions = Regions.from_label_map(torch.tensor([[1, 1, 2, 2, 2]]))
    named = name_regions(regions, torch.tensor([[0, 1, 0, 1, 1]]), 2, classes=(0, 1), min_share=0.2)
    assert named.classes.tolist() == [1]
    assert named.shares.tolist() == [pytest.approx(2 / 3)]


def test_things_count_against_stuff():
    regions = Regions.from_label_map(torch.ones(1, 10, dtype=torch.int64))
    label = torch.tensor([[0] * 2 + [1] * 8])
    assert len(name_regions(regions, label, 2, classes=(0,), min_share=0.2)) == 0
    assert len(name_regions(regions, label, 2, classes=(0,), min_share=0.19)) == 1


@settings(max_examples=30)
@given(MASKS)
def test_save_and_load(tmp_path_factory, case):
    masks = random_masks(case)
    regions = Regions.from_masks(masks, torch.full((len(masks),), 0.5))
    path = tmp_path_factory.mktemp("regions") / "new" / "one.npz"
    regions.save(path)
    back = Regions.load(path)
    for field in dataclasses.fields(Regions):
        assert torch.equal(getattr(back, field.name), getattr(regions, field.name))


def test_load_says_what_is_wrong(tmp_path):
    path = tmp_path / "x.npz"
    with pytest.raises(FileNotFoundError):
        Regions.load(path)
    path.write_bytes(b"PK not really")
    with pytest.raises(ValueError, match=r"x\.npz is not a regions file"):
        Regions.load(path)
    np.savez(path, format=np.array(99))
    with pytest.raises(ValueError, match="format 99, expected 1"):
        Regions.load(path)


def test_regions_travel_as_a_label_map():
    masks = random_masks((3, 9, 6, 8))
    regions = Regions.from_masks(masks)
    flipped = dataclasses.replace(regions, atoms=regions.atoms.flip(1))
    assert torch.equal(flipped.masks(), masks.flip(2))
    cropped = dataclasses.replace(regions, atoms=regions.atoms[2:5, 1:4])
    assert torch.equal(cropped.masks(), masks[:, 2:5, 1:4])


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("atoms", torch.zeros(3), r"atoms: expected an integer tensor of shape \(H, W\)"),
        ("members", torch.zeros(1, 2), r"members: expected a bool tensor"),
        ("scores", torch.zeros(5), r"scores: expected shape \(1,\), got \(5,\)"),
        ("atoms", torch.tensor([[1, 255]]), r"atoms: expected 0 \(no region\) to 1, .* 1 to 255"),
        ("atoms", torch.tensor([[-1, 1]], dtype=torch.int8), r"atoms: expected .* got -1 to 1"),
    ],
)
def test_bad_fields(field, value, message):
    good = Regions.from_label_map(torch.ones(2, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(good, **{field: value})


@pytest.mark.parametrize("shape", [(2, 0, 3), (2, 3, 0), (2, 3)])
def test_masks_of_no_image(shape):
    with pytest.raises(ValueError, match=r"^masks: expected a bool tensor of shape \(R, H, W\)"):
        Regions.from_masks(torch.zeros(shape, dtype=torch.bool))


def test_fields_are_tensors():
    with pytest.raises(TypeError, match=r"atoms: expected a torch tensor, got ndarray"):
        Regions(np.zeros((2, 2), int), np.zeros((0, 1), bool), np.zeros(0))


def test_atoms_may_come_from_a_16_bit_file():
    atoms = torch.from_numpy(np.array([[0, 1]], np.uint16))
    members = torch.tensor([[False, True]])
    assert Regions(atoms, members, torch.ones(1)).masks().tolist() == [[[False, True]]]


def test_a_file_whose_parts_do_not_fit(tmp_path):
    good = Regions.from_label_map(torch.ones(2, 2, dtype=torch.int64))
    good.save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as data:
        np.savez(tmp_path / "a.npz", **(dict(data) | {"atoms": np.full((2, 2), 9)}))
    with pytest.raises(ValueError, match=r"a\.npz is not a regions file: atoms: expected 0"):
        Regions.load(tmp_path / "a.npz")


def test_masks_of_another_dtype():
    with pytest.raises(ValueError, match=r"masks: expected a bool tensor.*got torch.float32"):
        Regions.from_masks(torch.zeros(1, 2, 2))


@pytest.mark.parametrize(
    ("build", "arguments", "name"),
    [
        (Regions.from_masks, (np.zeros((1, 2, 2), bool),), "masks"),
        (Regions.from_masks, ([[[True]]],), "masks"),
        (Regions.from_masks, (torch.zeros(1, 2, 2, dtype=torch.bool), np.ones(1)), "scores"),
        (Regions.from_label_map, (np.zeros((2, 2), int),), "label_map"),
    ],
)
def test_only_tensors_become_regions(build, arguments, name):
    with pytest.raises(TypeError, match=rf"^{name}: expected a torch tensor, got (ndarray|list)"):
        build(*arguments)


@pytest.mark.parametrize("wrong", [torch.zeros(2, 2), torch.zeros(1, 2, 2, dtype=torch.int64)])
def test_label_maps_of_another_shape_or_dtype(wrong):
    with pytest.raises(ValueError, match=r"^label_map: expected an integer tensor of shape \(H, W"):
        Regions.from_label_map(wrong)
