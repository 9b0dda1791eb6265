"""What a step is told: derivatives brought back to x_t, limits of the gradient."""

from __future__ import annotations

import math

import pytest
import torch

from sgg import Segmenter
from sgg.diffusion import Prediction
from sgg.guided_steps import guided_prediction, label_guidance, limit_gradient
from sgg.settings import GuidanceSettings


def sample(seed: int):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(2, 3, 5, 7, generator=rng, dtype=torch.float64)


class Curved:
    """A denoiser and a decoder, both bent, so that their derivatives matter."""

    alphas_cumprod = torch.tensor([0.9, 0.5], dtype=torch.float64)
    size_multiple = 1
    device = torch.device("cpu")

    def predict(self, x_t, t):
        a = float(self.alphas_cumprod[t])
        pred_x0 = torch.sin(x_t)
        return Prediction(pred_x0, (x_t - math.sqrt(a) * pred_x0) / math.sqrt(1 - a), x_t**2)

    def encode(self, images):
        return images

    def decode(self, x_0):
        return torch.exp(x_0)


@pytest.mark.parametrize(
    ("guidance_input", "through", "derivative"),
    [
        ("x_t", False, lambda x: torch.exp(x)),
        ("pred_x0", False, lambda x: torch.exp(torch.sin(x)) / math.sqrt(0.5)),
        ("pred_x0", True, lambda x: torch.exp(torch.sin(x)) * torch.cos(x)),
    ],
)
def test_gradient_comes_back_to_x_t(guidance_input, through, derivative):
    x_t = sample(0)
    slopes = sample(1)
    seen = []

    def image_gradient(images):
        seen.append(images)
        return slopes

    prediction, gradient = guided_prediction(
        Curved(),
        x_t,
        1,
        image_gradient,
        guidance_input=guidance_input,
        differentiate_denoiser=through,
    )
    torch.testing.assert_close(gradient, slopes * derivative(x_t))
    expected = torch.exp(x_t if guidance_input == "x_t" else torch.sin(x_t))
    torch.testing.assert_close(seen[0], expected)
    torch.testing.assert_close(prediction.pred_x0, torch.sin(x_t))
    tensors = (prediction.pred_x0, prediction.epsilon, prediction.variance_fraction, gradient)
    assert not any(tensor.requires_grad for tensor in tensors)


class HalfCurved(Curved):
    """The same with the precision of a large model."""

    def predict(self, x_t, t):
        found = super().predict(x_t.half(), t)
        return Prediction(*(part.to(x_t.dtype) for part in vars(found).values()))

    def decode(self, x_0):
        return super().decode(x_0.half()).to(x_0.dtype)


@pytest.mark.parametrize("through", [False, True])
def test_small_gradients_pass_half_precision(through):
    x_t = sample(0).float()
    slopes = sample(1).float()
    slopes[0] *= 1e-11
    slopes[1] *= 1e9
    slopes = torch.cat([slopes, torch.zeros(1, 3, 5, 7)])
    x_t = torch.cat([x_t, x_t[:1]])
    found, exact = (
        guided_prediction(
            model, x_t, 1, lambda images: slopes,
            guidance_input="pred_x0", differentiate_denoiser=through,
        )[1]
        for model in (HalfCurved(), Curved())
    )  # fmt: skip
    for image in range(2):
        difference = (found[image] - exact[image]).abs().max() / exact[image].abs().max()
        assert difference < 5e-3
    assert not found[2].any()


def test_what_is_computed_outside_autocast_is_differentiated_there():
    weight = torch.linspace(-1, 1, 49).reshape(7, 7)

    class Upcast(Curved):
        def decode(self, x_0):
            with torch.autocast("cpu", enabled=False):
                return torch.exp(x_0 @ weight)

    x_t, slopes = sample(0).float(), sample(1).float()
    found = []
    for half in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            found.append(guided_prediction(Upcast(), x_t, 1, lambda images: slopes)[1])
    assert torch.equal(*found)


def test_single_precision_rounds_as_the_plain_derivative_does():
    x_t = sample(0).float()
    slopes = sample(1).float() * torch.tensor([3e-7, 41.0]).reshape(2, 1, 1, 1)
    _, found = guided_prediction(Curved(), x_t, 1, lambda images: slopes, guidance_input="x_t")
    leaf = x_t.requires_grad_(True)
    (plain,) = torch.autograd.grad(Curved().decode(leaf), leaf, slopes)
    assert torch.equal(found, plain)


@pytest.mark.parametrize("guidance", ["local", "global", "sgg"])
def test_labels_are_looked_at_once(guidance, monkeypatch):
    """On a GPU, whatever the program asks of a tensor's values waits for all that is under way."""
    looks = []
    for name in ("tolist", "item", "__int__", "__bool__", "__index__", "nonzero", "unique"):
        plain = getattr(torch.Tensor, name)

        def looking(self, *args, plain=plain, name=name, **options):
            looks.append(name)
            return plain(self, *args, **options)

        monkeypatch.setattr(torch.Tensor, name, looking)
    for name in ("tensor", "as_tensor", "from_numpy", "frombuffer"):
        plain = getattr(torch, name)

        def sending(*args, plain=plain, name=name, **options):
            looks.append(name)
            return plain(*args, **options)

        monkeypatch.setattr(torch, name, sending)
    labels = torch.arange(2 * 64 * 96).reshape(2, 64, 96) // 5 % 4
    predict = label_guidance(
        Curved(),
        Segmenter(lambda x: torch.cat([x, x[:, :1]], 1)),
        labels,
        guidance=guidance,
        settings=GuidanceSettings(crop_margin=2, max_copies=1),
    )
    x_t = torch.zeros(2, 3, 64, 96)
    predict(x_t, 1, 1)  # the segmenter's normalization is sent once for all
    looks.clear()
    for to_go in (2, 1):
        assert predict(x_t, 1, to_go)[1].any()
        looks.remove("__bool__")  # of this assertion
    assert not looks


def test_refuses_a_derivative_of_what_is_not_seen():
    with pytest.raises(ValueError, match="differentiate_denoiser: expected False"):
        guided_prediction(Curved(), sample(0), 1, lambda x: x, differentiate_denoiser=True)
    with pytest.raises(ValueError, match="guidance_input: expected one of"):
        guided_prediction(Curved(), sample(0), 1, lambda x: x, guidance_input="x_0")


def test_limits():
    gradient = sample(0)
    gradient[:, :, 0] = 0
    assert torch.equal(limit_gradient(gradient), gradient)
    scaled = limit_gradient(gradient, normalization="rms")
    assert scaled[:, :, 1:].square().mean((1, 2, 3)).tolist() == pytest.approx([1, 1])
    torch.testing.assert_close(scaled, limit_gradient(gradient * 7, normalization="rms"))
    assert limit_gradient(gradient, clip=0.5).abs().max() == 0.5
    assert not limit_gradient(torch.zeros_like(gradient), normalization="rms").any()
    with pytest.raises(ValueError, match="clip: expected a number in"):
        limit_gradient(gradient, clip=0)
