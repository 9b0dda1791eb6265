"""Segmenters of every accepted kind, and what is refused."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from sgg.segmenter import IMAGENET, Segmenter, as_segmenter


class Net(nn.Module):
    """Strided, with layers that evaluation mode changes."""

    def __init__(self, wrap=lambda x: x):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.body = nn.Sequential(
                nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.Dropout(0.5)
            )
        self.wrap = wrap

    def forward(self, x):
        return self.wrap(self.body(x))


class Mmseg(nn.Module):
    """mmseg's interface: forward is for training, encode_decode gives logits."""

    def __init__(self):
        super().__init__()
        self.net = Net()
        self.metas = None

    def forward(self, img, img_metas, return_loss=True):
        raise AssertionError("a segmentor's forward is not for logits")

    def encode_decode(self, inputs, batch_img_metas):
        self.metas = batch_img_metas
        return self.net(inputs)


def images(dtype=torch.float32):
    return torch.rand(2, 3, 9, 11, generator=torch.Generator().manual_seed(0)).to(dtype) * 2 - 1


def test_every_kind_of_output_is_the_same_segmenter(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # else DataParallel goes there
    kinds = [
        Net(),
        Net(lambda y: {"out": y, "aux": None}),
        Net(lambda y: {"logits": y, "loss": None}),
        Net(lambda y: SimpleNamespace(logits=y)),
        Mmseg(),
        nn.DataParallel(Mmseg()),
        nn.DataParallel(Net()),
    ]
    mean, std = (torch.tensor(value)[:, None, None] for value in IMAGENET)
    reference = Net().eval()
    expected = reference(((images() + 1) / 2 - mean) / std)
    assert expected.shape == (2, 4, 4, 5)
    for kind in kinds:
        assert torch.allclose(Segmenter(kind)(images()), expected, atol=1e-6)
    metas = kinds[4].metas
    assert [meta["pad_shape"] for meta in metas] == [(9, 11), (9, 11)]


def test_a_transformers_model():
    transformers = pytest.importorskip("transformers")
    config = transformers.SegformerConfig(
        num_labels=7, depths=[1] * 4, hidden_sizes=[8] * 4, decoder_hidden_size=8,
        num_attention_heads=[1] * 4,
    )  # fmt: skip
    with torch.random.fork_rng():
        model = transformers.SegformerForSemanticSegmentation(config)
    x = torch.zeros(2, 3, 32, 64, requires_grad=True)
    logits = Segmenter(model)(x)
    assert logits.shape == (2, 7, 8, 16)
    (gradient,) = torch.autograd.grad(logits.square().sum(), x)
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize(
    ("normalization", "scale"),
    [
        (None, lambda x: x),
        (((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), lambda x: 2 * x - 1),
        (((0, 0, 0), (1 / 255,) * 3), lambda x: 255 * x),
        (((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)), lambda x: 2 * x - 1),
        (((0, 0, 0), (255, 255, 255)), lambda x: x),
        (([104.0, 117.0, 123.0], [1.0, 1.0, 1.0]), lambda x: 255 * x - torch.tensor(
            [104.0, 117.0, 123.0])[:, None, None]),
    ],
)  # fmt: skip
def test_normalizations(normalization, scale):
    seen = Segmenter(lambda x: x, normalization=normalization)(images(torch.float64))
    torch.testing.assert_close(seen, scale((images(torch.float64) + 1) / 2))


def test_leaves_the_model_as_it_was():
    net = Net()
    net.body[2].eval()
    net.body[0].bias.requires_grad = False
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    x = images().requires_grad_(True)
    Segmenter(net)(x).sum().backward()
    assert x.grad.abs().sum() > 0
    assert [module.training for module in net.modules()] == [True, True, True, True, False]
    assert [p.requires_grad for p in net.parameters()] == [True, False, True, True]
    assert all(p.grad is None for p in net.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_a_failing_model_is_restored_too():
    net = Net(lambda y: None)
    with pytest.raises(TypeError, match="seg_model: expected floating point logits"):
        Segmenter(net)(images())
    assert net.training
    assert net.body[0].weight.requires_grad


def test_the_models_own_precision():
    segmenter = Segmenter(Net().double())
    x = images().requires_grad_(True)
    logits = segmenter(x)
    assert logits.dtype == torch.float64
    assert torch.autograd.grad(logits.sum(), x)[0].dtype == torch.float32


def test_counts_classes_and_wraps_once():
    segmenter = as_segmenter(Net())
    assert segmenter.count_classes(images()) == 4
    assert as_segmenter(segmenter) is segmenter


@pytest.mark.parametrize(
    ("output", "error", "message"),
    [
        (lambda x: {"aux": x}, TypeError, r"under 'out' or 'logits'.*got dict.*with \['aux'\]"),
        (lambda x: [x, x], TypeError, "got list"),
        (lambda x: x.argmax(1), TypeError, "expected floating point logits"),
        (lambda x: x[:, 0], ValueError, r"shape \(2, K >= 2, h, w\), got \(2, 9, 11\)"),
        (lambda x: x[:, :1], ValueError, r"got \(2, 1, 9, 11\)"),
        (lambda x: x[:1], ValueError, r"got \(1, 3, 9, 11\)"),
    ],
)
def test_refuses_other_outputs(output, error, message):
    with pytest.raises(error, match=message):
        Segmenter(output)(images())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": None}, TypeError, "seg_model: expected a module or function.*got NoneType"),
        ({"model": Net}, TypeError, "seg_model: expected a module or function"),
        ({"normalization": 3}, TypeError, "seg_normalization: expected"),
        ({"normalization": ((0.5,), (0.5,))}, ValueError, "expected mean of three numbers"),
        ({"normalization": (IMAGENET[0], None)}, TypeError, "expected std of three numbers"),
        ({"normalization": ((0,) * 3, (1,) * 3)}, ValueError, "tell 0-1 from 0-255.* pass None"),
        ({"normalization": ((0.5, 0.5, 0.5), (0.5, 0.0, 0.5))}, ValueError, "std > 0"),
        (
            {"normalization": ((123.0, 116.0, 103.0), (0.2, 0.2, 0.2))},
            ValueError,
            "on one scale, 0-1 or 0-255",
        ),
        ({"normalization": ((0.5, 0.4, 0.4), (58.0, 57.0, 57.0))}, ValueError, "on one scale"),
    ],
)
def test_refuses_other_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        Segmenter(**({"model": Net()} | arguments))


def test_for_training_it_is_the_same_in_the_models_own_mode():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Dropout(0.5))
    segmenter = Segmenter(model)
    images = torch.rand(2, 3, 4, 4)
    model.eval()
    assert torch.equal(segmenter.learning_logits(images), segmenter(images))
    model.train()
    logits = segmenter.learning_logits(images)
    assert (logits == 0).float().mean() > 0.2
    logits.sum().backward()
    assert model[0].weight.grad is not None
    segmenter(images)
    assert model.training
