from __future__ import annotations

import collections
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from psa_oracle import ExactSegmenter
from segment_anything import SamPredictor
from torch import nn

from seco import (
    CITYSCAPES,
    ConnectivityCorrector,
    Embedding,
    MaskLogits,
    SegmenterExtractor,
    load_sam,
)
from seco.correction.extractors import ModuleExtractor, SmallExtractor, as_extractor
from seco.sam.crop_layers import windows_of_layer
from seco.sam.tiny import build_tiny_sam

IMAGE = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 37, 50), np.uint8))


class Backbone(nn.Module):
    """Two levels of features, and a BatchNorm and a Dropout that training mode would move."""

    def __init__(self, wrap=lambda fine, coarse: fine):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.fine = nn.utils.skip_init(nn.Conv2d, 3, 4, 4, stride=4)
        self.coarse = nn.utils.skip_init(nn.Conv2d, 4, 6, 2, stride=2)
        for parameter in self.parameters():
            nn.init.normal_(parameter, generator=generator)
        self.norm, self.drop = nn.BatchNorm2d(4), nn.Dropout(0.9)
        self.wrap = wrap

    def forward(self, x):
        fine = self.drop(self.norm(self.fine(x)))
        return self.wrap(fine, self.coarse(fine))


def values(extractor, image=IMAGE):
    return [level.values for level in extractor(image)]


def test_small_network_depends_on_its_seed_alone():
    before = torch.get_rng_state()
    first = values(SmallExtractor(seed=3))
    assert torch.equal(torch.get_rng_state(), before)
    assert [tuple(level.shape) for level in first] == [(64, 10, 13), (160, 3, 4)]
    torch.rand(5, generator=torch.Generator())
    for a, b, c in zip(
        first, values(SmallExtractor(seed=3)), values(SmallExtractor(seed=4)), strict=True
    ):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)
        assert a.requires_grad


@pytest.mark.parametrize("size", [(1, 1), (2, 33)])
def test_small_network_takes_any_size(size):
    assert len(values(SmallExtractor(), torch.zeros(3, *size))) == 2


def test_bytes_and_floats_of_one_image_give_the_same():
    for extractor in (SmallExtractor(), ModuleExtractor(Backbone())):
        for a, b in zip(values(extractor), values(extractor, IMAGE.float()), strict=True):
            assert torch.equal(a, b)


def test_a_frozen_module_is_used_as_it_is_and_left_as_it_is():
    module = Backbone().train()
    state = {name: value.clone() for name, value in module.state_dict().items()}
    with torch.autocast("cpu", torch.bfloat16):
        (features,) = values(ModuleExtractor(module))
    assert not features.requires_grad
    assert module.training
    assert module.norm.training
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    mean = torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)
    std = torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1)
    expected = module.eval()(((IMAGE - mean) / std)[None])[0]
    torch.testing.assert_close(features, expected)


UNIT = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def test_statistics_say_whether_they_are_of_0_to_1_or_of_0_to_255():
    of_bytes, of_units = ModuleExtractor(Backbone()), ModuleExtractor(Backbone(), **UNIT)
    assert of_units.describe() == of_bytes.describe()
    assert torch.equal(values(of_units)[0], values(of_bytes)[0])
    listed = {name: torch.tensor(value) for name, value in UNIT.items()}
    assert ModuleExtractor(Backbone(), **listed).describe()["statistics"].startswith("[123.67")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"mean": (0.5, 0.5)}, r"mean, std: expected mean of three numbers, got shape \(2,\)"),
        ({"std": 0.2}, r"expected std of three numbers, got shape \(\)"),
        ({"std": "rgb"}, "expected std of three numbers, got str 'rgb'"),
        ({"std": (0.0, 0.2, 0.2)}, "mean, std: expected finite mean >= 0 and std > 0"),
        ({"mean": (0.485, 0.456, 0.406)}, "mean, std: expected mean and std on one scale"),
        ({"mean": (0, 0, 0), "std": (1, 1, 1)}, "got mean 0, std 1; give std 255"),
    ],
)
def test_unusable_statistics_are_refused_at_once(wrong, said):
    with pytest.raises((TypeError, ValueError), match=said):
        ModuleExtractor(Backbone(), **wrong)


def test_a_trained_module_is_a_copy_with_fixed_statistics():
    module = Backbone().train().requires_grad_(False)
    extractor = ModuleExtractor(module, trained=True)
    (features,) = values(extractor)
    assert features.requires_grad
    assert extractor.trained is not None
    assert extractor.trained is not module
    assert int(extractor.trained.norm.num_batches_tracked) == 0
    features.sum().backward()
    assert all(parameter.grad is None for parameter in module.parameters())


Output = collections.namedtuple("Output", "fine coarse")
SHAPES = {
    "tensor": (lambda f, c: f, None, [4]),
    "list": (lambda f, c: [f, c], None, [4, 6]),
    "namedtuple": (Output, None, [4, 6]),
    "list item": (lambda f, c: [f, c], -1, [6]),
    "dict of one": (lambda f, c: {"out": c}, None, [6]),
    "dict item": (lambda f, c: {"out": f, "aux": c}, "aux", [6]),
    "items of a dict": (lambda f, c: {"a": f, "b": c, "c": f}, ("b", "c"), [6, 4]),
    "items of a list": (lambda f, c: [f, c, f], (2, 1), [4, 6]),
    "dict of lists": (lambda f, c: {"stages": [f, c]}, "stages", [4, 6]),
}


@pytest.mark.parametrize("case", SHAPES, ids=list(SHAPES))
def test_outputs_of_many_kinds(case):
    wrap, output, channels = SHAPES[case]
    found = values(ModuleExtractor(Backbone(wrap), output=output))
    assert [len(level) for level in found] == channels


REFUSED = {
    "two names": (
        lambda f, c: {"out": f, "aux": c}, None,
        ValueError, "output: expected one of 'out', 'aux', got None",
    ),
    "wrong name": (
        lambda f, c: {"out": f}, "aux", ValueError, "output: expected one of 'out', got 'aux'"
    ),
    "a wrong name of two": (
        lambda f, c: {"a": f}, ("a", "b"), ValueError, "output: expected one of 'a', got 'b'"
    ),
    "wrong position": (
        lambda f, c: [f, c], 2, ValueError, "output: expected a position in a list of 2, got 2"
    ),
    "position of a tensor": (
        lambda f, c: f, 0, ValueError, "output: expected None, since the network returns a tensor"
    ),
    "tokens": (
        lambda f, c: f.flatten(2).mT, None,
        ValueError, r"expected feature maps of shape \(1, C, h, w\) with C > 1, got \(1, 108, 4\)",
    ),
    "one channel": (lambda f, c: f[:, :1], None, ValueError, r"got \(1, 1, 9, 12\)"),
    "labels": (
        lambda f, c: f.argmax(1, keepdim=True), None, TypeError, "expected feature maps, got Tensor"
    ),
    "nothing": (lambda f, c: None, None, TypeError, "expected feature maps, got NoneType"),
    "no level": (lambda f, c: [], None, ValueError, "expected at least one feature map, got none"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED, ids=list(REFUSED))
def test_other_outputs_are_refused(case):
    wrap, output, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        ModuleExtractor(Backbone(wrap), output=output)(IMAGE)


def test_a_segmenters_embedding_without_its_padding():
    sam = load_sam("tiny")
    (level,) = SegmenterExtractor(sam)(IMAGE)
    embedding = sam.encode(IMAGE[None])[0].features[0][0]
    assert torch.equal(level.values, embedding)
    assert level.extent == (32 * 189 / 256, 32.0)  # 37 x 50 becomes 189 x 256


def test_windows_are_looked_at_besides():
    sam = load_sam("tiny")
    plain = SegmenterExtractor(sam)
    whole, closer, closest = SegmenterExtractor(sam, crop_n_layers=2)(IMAGE)
    assert torch.equal(whole.values, plain(IMAGE)[0].values)
    for level, layer in ((closer, 1), (closest, 2)):
        windows = windows_of_layer((37, 50), layer, overlap_ratio=512 / 1500)
        assert len(windows) == 4**layer
        first = windows[0]
        (own,) = plain(IMAGE[:, first.rows, first.columns])
        cells = own.extent[0] / first.height, own.extent[1] / first.width
        assert level.extent == (round(37 * cells[0]), round(50 * cells[1]))
        # Its first cells lie where those of the first window do, but for the rounding.
        low, seen = level.values[:, 1, 1], own.values[:, 1, 1]
        assert F.cosine_similarity(low, seen, dim=0) > 0.98
    again = SegmenterExtractor(sam, crop_n_layers=1)(IMAGE, embedding=sam.encode(IMAGE[None])[0])
    assert torch.equal(again[1].values, closer.values)
    assert torch.equal(again[0].values, whole.values)


@pytest.mark.parametrize(("layers", "error"), [(-1, ValueError), (5, ValueError), (1.0, TypeError)])
def test_layers_that_there_are_not(layers, error):
    with pytest.raises(error, match="crop_n_layers: expected "):
        SegmenterExtractor(load_sam("tiny"), crop_n_layers=layers)


def test_windows_lie_where_they_were_cut():
    """Of a segmenter whose embedding is the image, squeezed, two maps are the image, one finer."""

    class Mirror(ExactSegmenter):
        def encode(self, images):
            seen = F.interpolate(images.float(), (16, 16), mode="area")
            return [Embedding((own[None],), tuple(images.shape[-2:])) for own in seen]

        def decode(self, embedding, **prompts):
            return MaskLogits(torch.zeros(1, 1, 16, 16), torch.ones(1, 1), (16.0, 16.0))

    down, across = torch.meshgrid(torch.arange(96.0), torch.arange(192.0), indexing="ij")
    image = torch.stack([down, across, 255 - across])  # windows of 64 x 112
    whole, closer = SegmenterExtractor(Mirror(), crop_n_layers=1)(image)
    assert closer.values.shape == (3, 24, 27)
    for level in (whole, closer):
        expected = F.interpolate(image[None], level.values.shape[1:], mode="area")[0]
        assert (level.values - expected)[:, 1:-1, 1:-1].abs().max() < 0.5


def test_the_richest_level_or_the_one_asked_for():
    class Pyramid(ExactSegmenter):
        def encode(self, images):
            levels = (torch.ones(1, 2, 8, 8), torch.ones(1, 9, 2, 2))
            return [Embedding(levels, (images.shape[-2], images.shape[-1])) for _ in images]

        def decode(self, embedding, **prompts):
            return MaskLogits(torch.zeros(1, 1, 16, 16), torch.ones(1, 1), (8.0, 16.0))

    (level,) = SegmenterExtractor(Pyramid())(IMAGE)
    assert level.values.shape == (9, 2, 2)
    assert level.extent == (1.0, 2.0)
    (level,) = SegmenterExtractor(Pyramid(), level=0)(IMAGE)
    assert level.extent == (4.0, 8.0)


def test_an_embedding_that_is_no_feature_map():
    with pytest.raises(TypeError, match="expected feature maps, got Tensor"):
        SegmenterExtractor(ExactSegmenter())(IMAGE)


def test_what_is_made_of_what():
    assert isinstance(as_extractor(None), SmallExtractor)
    module = as_extractor(Backbone())
    assert isinstance(module, ModuleExtractor)
    assert module.trained is None
    assert as_extractor(module) is module
    for sam in (load_sam("tiny"), build_tiny_sam(), ExactSegmenter()):
        assert isinstance(as_extractor(sam), SegmenterExtractor)
    with pytest.raises(TypeError, match=r"encoder: .* load_sam\(name\) loads a model by its name"):
        as_extractor("tiny")
    for wrong in ("resnet", Backbone, SmallExtractor, lambda image: image):
        with pytest.raises(TypeError, match="encoder: expected "):
            as_extractor(wrong)
    with pytest.raises(ValueError, match="device: expected None with an encoder"):
        as_extractor(Backbone(), device="cpu")


def test_a_sam_is_looked_for_where_load_sam_finds_it():
    model = build_tiny_sam()
    plain = as_extractor(model)
    (expected,) = values(plain)
    holders = (SamPredictor(model), SimpleNamespace(model=model), SimpleNamespace(module=model))
    for held in holders:
        found = as_extractor(held)
        assert found.describe() == plain.describe()
        assert torch.equal(values(found)[0], expected)
    corrector = ConnectivityCorrector(CITYSCAPES, encoder=holders[0])
    assert corrector.label_space is CITYSCAPES


def test_descriptions_tell_frozen_weights_apart():
    one, other = Backbone(), Backbone()
    assert ModuleExtractor(one).describe() == ModuleExtractor(other).describe()
    with torch.no_grad():
        other.fine.weight[0, 0, 0, 0] += 1
    assert ModuleExtractor(one).describe() != ModuleExtractor(other).describe()
    assert ModuleExtractor(one, output=0).describe() != ModuleExtractor(one).describe()
    assert "weights" not in ModuleExtractor(one, trained=True).describe()
