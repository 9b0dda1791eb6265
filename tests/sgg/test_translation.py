"""The public call: what it promises whatever the models, with ones whose answers are known."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from halves import Halves
from hypothesis import given, settings
from hypothesis import strategies as st

import sgg
from sgg import (
    CallableDiffusion,
    GuidanceSettings,
    add_noise,
    reverse_process,
    reverse_timesteps,
    translate,
)
from sgg.guided_steps import label_guidance
from sgg.options import TranslationOptions

T = 24
SCHEDULE = (1 - torch.linspace(1e-3, 0.25, T, dtype=torch.float64)).cumprod(0)
MEAN, STD = 0.3, 0.4


def best_denoiser(x_t, steps):
    """Of a domain in which every value is N(MEAN, STD ** 2) by itself."""
    a = SCHEDULE[int(steps[0])].item()
    gain = STD**2 * math.sqrt(a) / (STD**2 * a + 1 - a)
    return MEAN + gain * (x_t - math.sqrt(a) * MEAN)


def target_domain(**options):
    return CallableDiffusion(best_denoiser, SCHEDULE, prediction_type="sample", **options)


def by_colour(x):
    """A segmenter of four classes, each pixel by itself: dark, red, green, blue."""
    return torch.cat([torch.zeros_like(x[:, :1]), 4 * x - 2], 1)


def seeing_neighbours(x):
    return by_colour(F.avg_pool2d(x, 3, 1, 1, count_include_pad=False))


def scene(seed: int, size=(7, 10)):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
    return image, rng.integers(0, 4, size).astype(np.uint8)


def batch(*seeds, size=(7, 10)):
    images, labels = zip(*(scene(seed, size) for seed in seeds), strict=True)
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return stacked.float() / 255, torch.from_numpy(np.stack(labels)).long()


def run(image, label, model=None, segmenter=by_colour, **options):
    options = {"seg_normalization": None, "num_inference_steps": 6} | options
    return translate(image, label, model or target_domain(), segmenter, **options)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def label_loss(image, label, segmenter=by_colour):
    return F.cross_entropy(segmenter(image), label).item()


def test_every_kind_comes_back_as_it_was():
    image, label = scene(0)
    kept = image.copy(), label.copy()
    array = run(image, label)
    assert (type(array), array.dtype, array.shape) == (np.ndarray, np.uint8, image.shape)
    np.testing.assert_array_equal(image, kept[0], "the input was written to")
    np.testing.assert_array_equal(label, kept[1], "the input was written to")
    assert (array != image).any()
    pixels, ids = torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(label)
    for tensor, labels in (
        (pixels, ids),
        (pixels[None], ids[None].long()),
        (pixels.float() / 255, ids.int()),
        (pixels[None].double() / 255, ids[None]),
    ):
        found = run(tensor, labels)
        assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
        if found.is_floating_point():
            assert found.min() >= 0
            assert found.max() <= 1
            found = found * 255
        found = found.reshape(pixels.shape).double().numpy()
        np.testing.assert_allclose(found, array.transpose(2, 0, 1), atol=0.51)


@settings(max_examples=15)
@given(
    seed=st.integers(0, 10**6),
    guidance=st.sampled_from(["sgg", "local", "global", "none"]),
    steps=st.sampled_from([("ddim", 0.0), ("ddim", 0.8), ("ddpm", 0.0)]),
    guidance_input=st.sampled_from(["x_t", "pred_x0"]),
    seeded=st.booleans(),
)
def test_batch_is_single_calls_and_global_random_state_is_untouched(
    seed, guidance, steps, guidance_input, seeded
):
    images, labels = batch(seed, seed + 1, seed + 2)
    labels[1] = 255
    labels[2, :2] = 255
    options = {
        "guidance": guidance,
        "sampler": steps[0],
        "eta": steps[1],
        "guidance_input": guidance_input,
        "segmenter": seeing_neighbours,
    }
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    together = run(images, labels, generator=generator(seed) if seeded else None, **options)
    again = run(images, labels, generator=generator(seed) if seeded else None, **options)
    assert torch.equal(together, again)
    one_by_one = generator(seed) if seeded else None
    for image, label, expected in zip(images, labels, together, strict=True):
        found = run(image, label, generator=one_by_one, **options)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    assert before == after


def test_every_image_may_have_a_generator_of_its_own():
    images, labels = batch(0, 1, 2)
    options = {"sampler": "ddpm"}
    together = run(images, labels, generator=[generator(k) for k in (5, 3, 5)], **options)
    for index, seed in enumerate((5, 3, 5)):
        alone = run(images[index], labels[index], generator=generator(seed), **options)
        torch.testing.assert_close(together[index], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_without_guidance_it_is_the_plain_reverse_process(sampler):
    images, labels = batch(0)
    plain = run(images, labels, guidance="none", sampler=sampler)
    assert torch.equal(plain, run(images, labels, guidance_scale=0.0, sampler=sampler))
    assert torch.equal(plain, run(images, labels, segmenter=None, guidance="none", sampler=sampler))
    assert torch.equal(plain, run(images, torch.full_like(labels, 255), sampler=sampler))

    draws = generator(0)
    noise = [torch.randn(3, 7, 10, generator=draws)[None] for _ in range(6)]
    steps = [13, 11, 9, 6, 4, 2]  # strength 0.6 of 24 steps is 14
    x = SCHEDULE[13].sqrt() * (2 * images - 1) + (1 - SCHEDULE[13]).sqrt() * noise[0]
    for index, t in enumerate(steps):
        a = SCHEDULE[t]
        prev = SCHEDULE[steps[index + 1]] if index < 5 else torch.ones(())
        x_0 = best_denoiser(x, [t])
        if sampler == "ddim":
            x = prev.sqrt() * x_0 + (1 - prev).sqrt() * (x - a.sqrt() * x_0) / (1 - a).sqrt()
            continue
        beta = 1 - a / prev
        x = (prev.sqrt() * beta * x_0 + (a / prev).sqrt() * (1 - prev) * x) / (1 - a)
        if index < 5:
            x = x + (beta * (1 - prev) / (1 - a)).sqrt() * noise[index + 1]
    torch.testing.assert_close(plain, ((x + 1) / 2).clamp(0, 1).float(), rtol=0, atol=1e-5)


def test_strength_moves_the_image_to_the_domain():
    images, labels = batch(0, size=(40, 40))
    means = [
        (2 * run(images, labels, guidance="none", strength=s, sampler="ddpm",
                 num_inference_steps=None) - 1).mean().item()
        for s in (0.1, 0.5, 1.0)
    ]  # fmt: skip
    assert means == sorted(means)
    assert means[-1] == pytest.approx(MEAN, abs=0.03)


@pytest.mark.parametrize("segmenter", [by_colour, seeing_neighbours])
@pytest.mark.parametrize(("sampler", "scale"), [("ddim", 0.5), ("ddpm", 5.0)])
@pytest.mark.parametrize("guidance_input", ["x_t", "pred_x0"])
def test_guidance_keeps_the_label_true(segmenter, sampler, scale, guidance_input):
    images, labels = batch(3)
    labels[:, :3] = 1  # regions that a segmenter can see by their surroundings
    labels[:, 3:] = 2
    options = {"segmenter": segmenter, "sampler": sampler, "guidance_input": guidance_input}
    plain = label_loss(run(images, labels, guidance="none", **options), labels, segmenter)
    for guidance in ("local", "global", "sgg"):
        guided = run(images, labels, guidance=guidance, guidance_scale=scale, **options)
        assert label_loss(guided, labels, segmenter) < 0.9 * plain


@pytest.mark.parametrize("guidance", ["local", "global"])
def test_ignored_pixels_are_translated_without_guidance(guidance):
    images, labels = batch(4)
    labels[:, :, 5:] = 255
    plain = run(images, labels, guidance="none")
    options = {"segmenter": seeing_neighbours, "guidance": guidance, "guidance_scale": 0.5}
    guided = run(images, labels, **options)
    assert torch.equal(guided[..., 5:], plain[..., 5:])
    assert not torch.isclose(guided[..., :5], plain[..., :5]).all(1).any()


def test_the_denoiser_carries_no_guidance_to_ignored_pixels():
    images, labels = batch(4)
    labels[:, :, 5:] = 255

    def blurring(x_t, steps):
        return F.avg_pool2d(best_denoiser(x_t, steps), 3, 1, 1)

    model = CallableDiffusion(blurring, SCHEDULE, prediction_type="sample")
    chosen = GuidanceSettings(differentiate_denoiser=True)
    options = {"num_inference_steps": 1, "settings": chosen}  # later steps mix the pixels anyway
    plain = run(images, labels, model, guidance="none", **options)
    guided = run(images, labels, model, **options)
    assert torch.equal(guided[..., 5:], plain[..., 5:])
    assert not torch.isclose(guided[..., :5], plain[..., :5]).all(1).any()


def test_the_papers_steps_one_region_at_a_time():
    """x = sum over c of m_c * x_c with x_c ~ N(mean - scale * variance * gradient_c, variance)."""
    images, labels = batch(8)
    labels[:, 0] = 255
    scale, steps = 2.0, [13, 9, 4]
    options = sgg.PAPER | {"guidance_scale": scale, "num_inference_steps": 3}
    found = run(images, labels, segmenter=seeing_neighbours, **options)
    draws = generator(0)
    noise = [torch.randn(3, 7, 10, generator=draws)[None] for _ in range(3)]
    x = SCHEDULE[13].sqrt() * (2 * images - 1) + (1 - SCHEDULE[13]).sqrt() * noise[0]

    def gradient(x, mask, target):
        seen = x.clone().requires_grad_(True)
        logits = seeing_neighbours((seen * mask + 1) / 2)
        loss = F.cross_entropy(logits, target, ignore_index=255)
        return torch.autograd.grad(loss, seen)[0]

    for index, t in enumerate(steps):
        a = SCHEDULE[t]
        prev = SCHEDULE[steps[index + 1]] if index < 2 else torch.ones(())
        beta = 1 - a / prev
        x_0 = best_denoiser(x, [t])
        mean = (prev.sqrt() * beta * x_0 + (a / prev).sqrt() * (1 - prev) * x) / (1 - a)
        variance = beta * (1 - prev) / (1 - a)
        z = noise[index + 1] if index < 2 else torch.zeros(())
        unguided = mean + variance.sqrt() * z
        whole = gradient(x, torch.ones(()), labels)
        stepped = torch.where((labels == 255)[:, None], unguided, torch.zeros(()))
        for c in range(4):
            mask = (labels == c)[:, None]
            to_go_is_even = index == 1
            own = gradient(x, mask, torch.where(mask[:, 0], labels, 255))
            slope = own if to_go_is_even else whole
            stepped = stepped + mask * (unguided - scale * variance * slope)
        x = stepped
    torch.testing.assert_close(found, ((x + 1) / 2).clamp(0, 1).float(), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("even_steps", "sizes"), [("local", [2, 1] * 2), ("global", [1, 2] * 2)])
def test_local_and_global_alternate(even_steps, sizes):
    images, labels = batch(0)
    labels = labels % 2
    seen = []

    def segmenter(x):
        seen.append(x)
        return by_colour(x)

    chosen = GuidanceSettings(even_steps=even_steps)
    run(images, labels, segmenter=segmenter, num_inference_steps=4, settings=chosen)
    assert [len(x) for x in seen] == [1, *sizes]  # the first call counts classes
    for kind, size in (("local", 2), ("global", 1)):
        seen.clear()
        run(images, labels, segmenter=segmenter, num_inference_steps=3, guidance=kind)
        assert [len(x) for x in seen] == [1, size, size, size]


@pytest.mark.parametrize(
    ("interval", "guided"),  # steps to go of a guided step: which gradient
    [
        (2, {5: "global", 3: "local", 1: "global"}),
        (3, {4: "local", 1: "global"}),
        (9, {1: "global"}),
    ],
)
def test_guiding_every_few_steps(interval, guided):
    images, labels = batch(0, size=(8, 12))
    model, steps = target_domain(), reverse_timesteps(len(SCHEDULE), 0.6, 6)
    every = {
        kind: label_guidance(model, by_colour, labels, guidance=kind)
        for kind in ("local", "global")
    }

    def predict(x_t, t, to_go):
        if to_go in guided:
            return every[guided[to_go]](x_t, t, to_go)
        return model.predict(x_t, t), None

    noise = torch.randn(images.shape, generator=generator())
    x_n = add_noise(images * 2 - 1, noise, float(SCHEDULE[steps[0]]))
    expected = reverse_process(x_n, steps, SCHEDULE, predict)
    choice = GuidanceSettings(interval=interval)
    chosen = label_guidance(model, by_colour, labels, settings=choice)
    assert torch.equal(reverse_process(x_n, steps, SCHEDULE, chosen), expected)
    whole = run(images, labels, settings=choice, guidance_scale=0.3)
    assert not torch.allclose(whole, run(images, labels, guidance_scale=0.3))


def test_what_the_segmenter_sees():
    images, labels = batch(0)
    seen = {}
    for guidance_input in ("x_t", "pred_x0"):
        calls = []

        def segmenter(x, calls=calls):
            calls.append(2 * x - 1)
            return by_colour(x)

        run(images, labels, segmenter=segmenter, guidance="global", guidance_input=guidance_input)
        seen[guidance_input] = calls
    torch.testing.assert_close(seen["x_t"][0], 2 * images - 1)
    x_n = seen["x_t"][1].detach()
    expected = best_denoiser(x_n, [13])
    torch.testing.assert_close(seen["pred_x0"][1].detach(), expected, rtol=0, atol=1e-5)


@settings(max_examples=12)
@given(height=st.integers(1, 9), width=st.integers(1, 9), multiple=st.sampled_from([1, 4, 8]))
def test_sizes_the_model_cannot_take(height, width, multiple):
    def denoiser(x_t, steps):
        assert x_t.shape[-2] % multiple == x_t.shape[-1] % multiple == 0
        return best_denoiser(x_t, steps)

    model = CallableDiffusion(denoiser, SCHEDULE, prediction_type="sample", size_multiple=multiple)
    image, label = scene(0, (height, width))
    assert run(image, label, model, num_inference_steps=2).shape == image.shape


def test_padding_does_not_move_the_image():
    images, labels = batch(0)
    free = run(images, labels, sampler="ddim", guidance="none", strength=0.01)
    padded = run(images, labels, target_domain(size_multiple=8), guidance="none", strength=0.01)
    torch.testing.assert_close(free, images, rtol=0, atol=0.1)
    torch.testing.assert_close(padded, images, rtol=0, atol=0.1)


def test_latents_are_guided_through_the_decoder():
    inner = CallableDiffusion(best_denoiser, SCHEDULE, prediction_type="sample")
    model = sgg.LatentDiffusion(inner, Halves())
    images, labels = batch(5, size=(7, 11))
    labels[:, 4:] = 255
    plain = run(images, labels, model, guidance="none")
    guided = run(images, labels, model, guidance_scale=0.3)
    assert guided.shape == images.shape
    assert torch.equal(guided[:, :, 4:], plain[:, :, 4:])
    losses = [label_loss(x[:, :, :4], labels[:, :4]) for x in (guided, plain)]
    assert losses[0] < 0.9 * losses[1]


def test_the_callers_inference_mode_and_autocast_do_not_matter():
    images, labels = batch(0)
    layer = torch.nn.Conv2d(3, 4, 3, padding=1)
    expected = run(images, labels, segmenter=layer)
    with torch.inference_mode():
        inside = run(images.clone(), labels.clone(), segmenter=layer)
    assert torch.equal(expected, inside)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(expected, run(images, labels, segmenter=layer))
    own = run(images, labels, segmenter=layer, dtype=torch.bfloat16)
    assert own.dtype == torch.float32
    assert not torch.equal(own, expected)
    torch.testing.assert_close(own, expected, rtol=0, atol=0.05)
    assert layer.weight.grad is None


def test_the_callers_default_device_does_not_matter():
    image, label = batch(0, size=(8, 8))
    segmenter = sgg.Segmenter(by_colour)
    domain = target_domain()
    options = {"tile_size": None, "settings": GuidanceSettings(class_weights=(1.0, 2.0, 1.0, 1.0))}

    def translated():
        model = sgg.LatentDiffusion(domain, Halves())
        return run(image, label, model, segmenter, **options)

    expected = translated()
    torch.set_default_device("meta")  # as "cuda": not the device of anything here
    try:
        found = translated()
    finally:
        torch.set_default_device(None)
    assert torch.equal(found, expected)


def test_the_finer_choices_matter():
    images, labels = batch(0)
    labels[:, 0, 0] = 255
    options = {"segmenter": seeing_neighbours, "guidance_scale": 0.3}
    default = run(images, labels, settings=GuidanceSettings(normalization="none"), **options)
    for choice in (
        {"even_steps": "global"},
        {"differentiate_denoiser": True},
        {"reduction": "mean"},
        {"normalization": "rms"},
        {"clip": 0.1},
        {"class_weights": (1, 2, 3, 4)},
    ):
        chosen = GuidanceSettings(**{"normalization": "none", **choice})
        found = run(images, labels, settings=chosen, **options)
        assert not torch.allclose(found, default), choice
    chosen = GuidanceSettings(normalization="none", max_copies=1)
    chunked = run(images, labels, settings=chosen, **options)
    torch.testing.assert_close(chunked, default, rtol=0, atol=1e-5)


def test_crops_are_an_option():
    images, labels = batch(0, size=(64, 96))
    labels[:] = 0
    labels[:, 5:20, 40:60] = 1
    seen = {}
    for margin in (None, 2):
        sizes = []

        def segmenter(x, sizes=sizes):
            sizes.append(tuple(x.shape[-2:]))
            return seeing_neighbours(x)

        chosen = GuidanceSettings(crop_margin=margin)
        options = {"guidance": "local", "settings": chosen}
        seen[margin] = run(images, labels, segmenter=segmenter, **options)
        assert ((32, 32) in sizes) == (margin is not None)
    torch.testing.assert_close(seen[2], seen[None], rtol=0, atol=1e-5)


def test_out_of_range_images_are_refused_without_a_hint_at_what_is_no_argument():
    with pytest.raises(ValueError, match="expected floats in 0-1, got -3 to -3") as raised:
        run(torch.full((3, 7, 10), -3.0), torch.from_numpy(LABEL))
    assert "normalization=" not in str(raised.value)


def test_what_is_known_of_the_papers_form():
    assert dict(sgg.PAPER) == {
        "strength": 0.6,
        "sampler": "ddpm",
        "num_inference_steps": None,
        "guidance": "sgg",
        "guidance_scale": 60.0,
        "guidance_input": "x_t",
        "settings": GuidanceSettings(
            even_steps="local", interval=1, differentiate_denoiser=False, reduction="mean",
            normalization="none", clip=None, class_weights=None, crop_margin=None,
        ),
    }  # fmt: skip


def test_the_papers_form_is_a_preset():
    images, labels = batch(0)
    calls = []

    def denoiser(x_t, steps):
        calls.append(int(steps[0]))
        return best_denoiser(x_t, steps)

    model = CallableDiffusion(denoiser, SCHEDULE, prediction_type="sample")
    translate(images, labels, model, by_colour, seg_normalization=None, **sgg.PAPER)
    assert calls == list(range(13, -1, -1))


def test_a_diffusers_pipeline():
    diffusers = pytest.importorskip("diffusers")
    with torch.random.fork_rng():
        unet = diffusers.UNet2DModel(
            block_out_channels=(8, 16), down_block_types=("DownBlock2D",) * 2,
            up_block_types=("UpBlock2D",) * 2, layers_per_block=1, norm_num_groups=4,
        )  # fmt: skip
        segmenter = torch.nn.Conv2d(3, 4, 3, stride=2, padding=1)
    pipeline = diffusers.DDPMPipeline(unet=unet, scheduler=diffusers.DDPMScheduler())
    image, label = scene(0)
    chosen = GuidanceSettings(differentiate_denoiser=True)
    found = [
        translate(image, label, pipeline, segmenter, num_inference_steps=2, settings=chosen,
                  guidance_scale=scale)
        for scale in (0.0, 5.0)
    ]  # fmt: skip
    assert found[0].shape == image.shape
    assert (found[0] != found[1]).any()
    assert all(p.grad is None and p.requires_grad for p in unet.parameters())


def test_progress(capsys):
    run(*scene(0), progress=True)
    assert "6/6" in capsys.readouterr().err
    run(*scene(0))
    assert capsys.readouterr().err == ""


IMAGE, LABEL = scene(0)
PIXELS = torch.zeros(3, 7, 10)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"image": IMAGE.astype(float)}, TypeError, "src_img: expected a uint8 array"),
        ({"image": IMAGE[..., 0]}, ValueError, "src_img: expected an array of shape"),
        ({"image": None}, TypeError, "src_img: expected a numpy array"),
        ({"label": LABEL[:5]}, ValueError, r"src_label: expected shape \(7, 10\) as src_img has"),
        ({"label": torch.from_numpy(LABEL)}, TypeError, "src_label: expected the same kind"),
        ({"label": LABEL.astype(float)}, TypeError, "src_label: expected an integer dtype"),
        ({"label": LABEL + 1}, ValueError, r"src_label: expected class ids 0\.\.3.*got 4"),
        ({"ignore_index": -1}, ValueError, "src_label: expected a dtype that can hold"),
        ({"ignore_index": 2}, ValueError, "ignore_index: expected a value outside the class ids"),
        ({"image": PIXELS * math.nan, "label": torch.from_numpy(LABEL)}, ValueError, "src_img"),
        ({"image": PIXELS + 7, "label": torch.from_numpy(LABEL)}, ValueError, "src_img: .* 0-1"),
        ({"model": "sd15"}, TypeError, "diffusion: expected a diffusers pipeline"),
        ({"segmenter": None}, TypeError, "seg_model: expected a segmentation model"),
        ({"segmenter": lambda x: [x]}, TypeError, "seg_model: expected floating point logits"),
        ({"seg_normalization": 1}, TypeError, "seg_normalization: expected"),
        ({"strength": 0}, ValueError, r"strength: expected a number in \(0, 1\]"),
        ({"strength": 1.5}, ValueError, "strength: expected a number"),
        ({"num_inference_steps": 0}, ValueError, "num_inference_steps: expected an integer >= 1"),
        ({"sampler": "euler"}, ValueError, "sampler: expected one of 'ddpm', 'ddim'"),
        ({"eta": 2}, ValueError, "eta: expected a number"),
        ({"guidance": "LCG"}, ValueError, "guidance: expected one of 'sgg', 'local'"),
        ({"guidance_scale": -1}, ValueError, "guidance_scale: expected a number"),
        ({"guidance_scale": math.nan}, ValueError, "guidance_scale: expected a number"),
        ({"guidance_input": "x_0"}, ValueError, "guidance_input: expected one of"),
        ({"settings": {}}, TypeError, "settings: expected sgg.GuidanceSettings"),
        ({"settings": GuidanceSettings(class_weights=(1,))}, ValueError, "class_weights: expected"),
        (
            {
                "settings": GuidanceSettings(differentiate_denoiser=True),
                "guidance_input": "x_t",
            },
            ValueError,
            "settings: expected differentiate_denoiser=False",
        ),
        ({"dtype": torch.float64}, ValueError, "dtype: expected torch.bfloat16"),
        ({"generator": 3}, TypeError, "generator: expected a torch.Generator"),
        ({"generator": [generator(), 3]}, TypeError, "generator: expected a torch.Generator"),
        ({"generator": [generator()] * 2}, ValueError, "generator: expected 1, one per image, got"),
        ({"guidance_scale": 1e38}, FloatingPointError, r"after step t=\d+ .*guidance diverges"),
    ],
)
def test_bad_input(change, error, message):
    arguments = {"image": IMAGE, "label": LABEL} | change
    with pytest.raises(error, match=message):
        run(**arguments)


@pytest.mark.parametrize(
    ("choice", "error"),
    [
        ({"even_steps": "both"}, ValueError),
        ({"interval": 0}, ValueError),
        ({"differentiate_denoiser": 1}, ValueError),
        ({"reduction": "none"}, ValueError),
        ({"normalization": "l2"}, ValueError),
        ({"clip": 0}, ValueError),
        ({"class_weights": (1, -1)}, ValueError),
        ({"class_weights": ("1",)}, TypeError),
        ({"max_copies": 0}, ValueError),
        ({"crop_margin": -1}, ValueError),
        ({"crop_margin": 0.5}, TypeError),
    ],
)
def test_bad_settings(choice, error):
    with pytest.raises(error, match=f"{next(iter(choice))}: expected"):
        GuidanceSettings(**choice)


@pytest.mark.parametrize("choice", [{"tile_overlap": 4}, {"tiles_per_batch": 2}])
def test_whole_images_have_no_tiles(choice):
    name = next(iter(choice))
    with pytest.raises(ValueError, match=f"{name}: expected .* where tile_size is None"):
        TranslationOptions(tile_size=None, **choice)
    assert getattr(TranslationOptions(tile_size=16, **choice), name) == choice[name]
    assert getattr(TranslationOptions(**choice), name) == choice[name]


def test_eta_is_of_ddim():
    with pytest.raises(ValueError, match=r"eta: expected 0.* with sampler 'ddpm', .* got 0.5"):
        run(*scene(0), sampler="ddpm", eta=0.5)
    assert TranslationOptions(sampler="ddim", eta=0.5).eta == 0.5
