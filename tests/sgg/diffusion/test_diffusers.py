"""diffusers' networks, against steps of its own schedulers on its own outputs."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
import torch

from sgg.diffusion import DiffusersDiffusion, LatentDiffusion, as_diffusion, from_diffusers
from sgg.sampling import ddim_step, ddpm_step

diffusers = pytest.importorskip("diffusers")


def build(make):
    """Make a network without touching the global generator."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


def unet(inputs: int = 3, outputs: int | None = None, **options):
    return build(
        lambda: diffusers.UNet2DModel(
            in_channels=inputs,
            out_channels=inputs if outputs is None else outputs,
            block_out_channels=(8, 16),
            down_block_types=("DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            norm_num_groups=4,
            add_attention=False,
            **options,
        )
    )


def normal(seed: int, channels: int = 3):
    return torch.randn(2, channels, 8, 10, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("prediction_type", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize(
    ("variance_type", "clip"),
    [("fixed_small", True), ("fixed_large", False), ("learned_range", True)],
)
def test_ancestral_steps(prediction_type, variance_type, clip):
    net = unet(outputs=6 if variance_type == "learned_range" else 3).eval()
    scheduler = diffusers.DDPMScheduler(
        prediction_type=prediction_type,
        variance_type=variance_type,
        clip_sample=clip,
        clip_sample_range=0.7,
    )
    model = as_diffusion((net, scheduler))
    x_t, noise = normal(0), normal(1)
    for t in (999, 300, 0):
        with torch.no_grad():
            output = net(x_t, t).sample
            found = model.predict(x_t, t)
        generator = torch.Generator().manual_seed(1)
        expected = scheduler.step(output, t, x_t, generator=generator)
        torch.testing.assert_close(
            found.pred_x0, expected.pred_original_sample, rtol=1e-4, atol=1e-4
        )
        a = float(model.alphas_cumprod[t])
        a_prev = float(model.alphas_cumprod[t - 1]) if t else 1.0
        stepped = ddpm_step(x_t, found, a, a_prev, noise=noise)
        torch.testing.assert_close(stepped, expected.prev_sample, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("prediction_type", ["epsilon", "sample", "v_prediction"])
def test_ddim_steps_of_a_model_with_a_learned_variance(prediction_type):
    net = unet(outputs=6).eval()  # a DDIM scheduler does not know of the second half
    scheduler = diffusers.DDIMScheduler(prediction_type=prediction_type)
    scheduler.set_timesteps(10)
    model = as_diffusion((net, scheduler))
    x_t = normal(0)
    for t, prev in ((900, 800), (500, 400)):
        with torch.no_grad():
            output = net(x_t, t).sample[:, :3]
            found = model.predict(x_t, t)
        assert found.variance_fraction == 0
        expected = scheduler.step(output, t, x_t, use_clipped_model_output=True).prev_sample
        a, a_prev = (float(model.alphas_cumprod[step]) for step in (t, prev))
        stepped = ddim_step(x_t, found, a, a_prev)
        torch.testing.assert_close(stepped, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "name", ["DDPMPipeline", "DDIMPipeline"],
)  # fmt: skip
def test_pipelines(name):
    net, scheduler = unet(), diffusers.DDPMScheduler(prediction_type="v_prediction")
    pipeline = getattr(diffusers, name)(unet=net, scheduler=scheduler)
    model = as_diffusion(pipeline)
    direct = as_diffusion((net, scheduler))
    assert model.size_multiple == 2
    assert torch.equal(model.alphas_cumprod, scheduler.alphas_cumprod.double())
    with torch.no_grad():
        pair = [m.predict(normal(0), 40).pred_x0 for m in (model, direct)]
    assert torch.equal(*pair)


def test_sampler_of_a_scheduler_does_not_matter():
    net = unet()
    reference = as_diffusion((net, diffusers.DDIMScheduler(clip_sample=False)))
    for name in (
        "PNDMScheduler",
        "EulerDiscreteScheduler",
        "DPMSolverMultistepScheduler",
        "UniPCMultistepScheduler",
    ):
        model = as_diffusion((net, getattr(diffusers, name)()))
        torch.testing.assert_close(model.alphas_cumprod, reference.alphas_cumprod)
        assert model.prediction_type == "epsilon"
        assert model.clip_range is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: diffusers.EDMEulerScheduler(), "got EDMEulerScheduler, EDM, which is not"),
        (lambda: diffusers.EDMDPMSolverMultistepScheduler(), "EDM, which is not supported"),
        (lambda: diffusers.FlowMatchEulerDiscreteScheduler(), "flow matching, which is not"),
        (lambda: diffusers.LCMScheduler(), "consistency distillation, which is not"),
        (lambda: diffusers.ScoreSdeVeScheduler(), "variance exploding, which is not"),
        (
            lambda: diffusers.DPMSolverMultistepScheduler(
                prediction_type="flow_prediction", use_flow_sigmas=True
            ),
            "flow matching, which is not",
        ),
        (
            lambda: diffusers.EulerDiscreteScheduler(
                timestep_type="continuous", prediction_type="v_prediction"
            ),
            "EDM, which is not",
        ),
        (lambda: diffusers.DDPMScheduler(thresholding=True), "dynamic thresholding"),
    ],
)
def test_other_kinds_are_refused_by_name(make, message):
    scheduler = make()
    with pytest.raises(ValueError, match=message):
        as_diffusion((unet(), scheduler))
    with pytest.raises(ValueError, match=message):  # as in a pipeline with a transformer
        as_diffusion(SimpleNamespace(scheduler=scheduler, transformer=object()))


@pytest.mark.parametrize(
    "diffusion",
    [
        "sd15", None, object(), (1, 2), (1, 2, 3, 4), lambda x, t: x,
        SimpleNamespace(scheduler=diffusers.DDPMScheduler(), transformer=object()),
    ],
)  # fmt: skip
def test_what_is_not_recognised(diffusion):
    with pytest.raises(TypeError, match="diffusion: expected"):
        as_diffusion(diffusion)


def test_a_scheduler_without_alphas():
    with pytest.raises(TypeError, match="scheduler with alphas_cumprod, got SimpleNamespace"):
        as_diffusion((unet(), SimpleNamespace(config={})))


def test_conditions():
    net, scheduler = unet(num_class_embeds=5), diffusers.DDPMScheduler()
    with pytest.raises(ValueError, match="expected class_labels for UNet2DModel"):
        as_diffusion((net, scheduler))
    models = [
        from_diffusers((net, scheduler), condition={"class_labels": torch.tensor([c])})
        for c in (1, 2)
    ]
    with torch.no_grad():
        first, second = (model.predict(normal(0), 5).pred_x0 for model in models)
        expected = net.eval()(normal(0), 5, class_labels=torch.tensor([1, 1])).sample
    assert not torch.equal(first, second)
    a = models[0].alphas_cumprod[5]
    torch.testing.assert_close(
        first, ((normal(0) - (1 - a).sqrt() * expected) / a.sqrt()).clamp(-1, 1).float()
    )
    with pytest.raises(ValueError, match="condition: expected tensors with a first dimension"):
        from_diffusers((net, scheduler), condition={"class_labels": torch.tensor([1, 2])})


def text_unet(channels: int = 4):
    return build(
        lambda: diffusers.UNet2DConditionModel(
            in_channels=channels,
            out_channels=channels,
            block_out_channels=(8, 16),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            norm_num_groups=4,
            cross_attention_dim=6,
            attention_head_dim=2,
        )
    )


def autoencoder(**options):
    return build(
        lambda: diffusers.AutoencoderKL(
            block_out_channels=(4, 8, 8),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            norm_num_groups=4,
            **options,
        )
    ).eval()


def test_latents_of_a_text_conditioned_model():
    net, vae, scheduler = text_unet(), autoencoder(), diffusers.PNDMScheduler()
    with pytest.raises(
        ValueError,
        match=r"expected encoder_hidden_states.* for a command, .*package.module:function",
    ):
        as_diffusion((net, scheduler, vae))
    text = torch.ones(1, 5, 6)
    pipeline = SimpleNamespace(unet=net, scheduler=scheduler, vae=vae)
    model = from_diffusers(pipeline, condition={"encoder_hidden_states": text})
    assert isinstance(model, LatentDiffusion)
    assert model.size_multiple == 8
    images = torch.tanh(normal(0)).repeat(1, 1, 1, 2)[..., :16]
    with torch.no_grad():
        latents = model.encode(images)
        assert latents.shape == (2, 4, 2, 4)
        torch.testing.assert_close(latents, vae.encode(images).latent_dist.mean * 0.18215)
        expected = vae.decode(vae.encode(images).latent_dist.mean).sample
        torch.testing.assert_close(model.decode(latents), expected, rtol=1e-4, atol=1e-4)
        predicted = model.predict(latents, 100)
        expected = net(latents, 100, text.expand(2, 5, 6)).sample
    torch.testing.assert_close(predicted.epsilon, expected)


def test_gradient_goes_through_the_decoder():
    vae = autoencoder().double()
    model = LatentDiffusion(DiffusersDiffusion(unet(4), diffusers.DDPMScheduler()), vae)
    latents, direction = (normal(seed, 4)[:1, :, :2, :2].double() for seed in (0, 1))
    weight = normal(2).double()[:1, :, :8, :8]
    x = latents.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad((model.decode(x) * weight).sum(), x)
    with torch.no_grad():
        up, down = (
            (model.decode(latents + sign * 1e-5 * direction) * weight).sum() for sign in (1, -1)
        )
    assert ((up - down) / 2e-5).item() == pytest.approx((gradient * direction).sum().item())
    assert all(p.grad is None and p.requires_grad for p in vae.parameters())


def test_normalisation_of_latents():
    images = torch.tanh(normal(0))[..., :8]
    mean, std = [0.1, -0.2, 0.3, 0.0], [0.5, 1.0, 2.0, 1.5]
    column = [torch.tensor(value)[:, None, None] for value in (mean, std)]
    inner = DiffusersDiffusion(unet(4), diffusers.DDPMScheduler())
    for options, expected in (
        ({"shift_factor": 0.3, "scaling_factor": 1.7}, lambda z: (z - 0.3) * 1.7),
        (
            {"latents_mean": mean, "latents_std": std, "scaling_factor": 0.5},
            lambda z: (z - column[0]) * 0.5 / column[1],
        ),
    ):
        vae = autoencoder(**options)
        model = LatentDiffusion(inner, vae)
        with torch.no_grad():
            z = vae.encode(images).latent_dist.mean
            torch.testing.assert_close(model.encode(images), expected(z))
            back = model.decode(model.encode(images))
            torch.testing.assert_close(back, vae.decode(z).sample, rtol=1e-4, atol=1e-4)


def latent_model(vae):
    return LatentDiffusion(DiffusersDiffusion(unet(4), diffusers.DDPMScheduler()), vae)


def slope(model, latents):
    """Images of latents, and the gradient of a function of them."""
    x = latents.clone().requires_grad_(True)
    images = model.decode(x)
    with torch.autocast("cpu", enabled=False):
        return images.detach(), *torch.autograd.grad(images.square().sum(), x)


@pytest.mark.parametrize("upcast", [True, False])
@pytest.mark.parametrize("half", ["weights", "autocast"])
def test_an_autoencoder_that_overflows_in_float16_works_in_float32(half, upcast):
    exact, vae = autoencoder().half().float(), autoencoder(force_upcast=upcast)
    if half == "weights":
        vae = vae.half()
    model, reference = latent_model(vae), latent_model(exact)
    images, latents = torch.tanh(normal(0))[..., :8], normal(1, 4)[..., :2, :2]
    if half == "autocast":
        exact.load_state_dict(vae.state_dict())
    with torch.autocast("cpu", torch.float16, enabled=half == "autocast"):
        found = model.encode(images), *slope(model, latents)
    expected = reference.encode(images), *slope(reference, latents)
    same = [torch.equal(one, other) for one, other in zip(found, expected, strict=True)]
    assert same == [upcast] * 3
    assert all(part.dtype == torch.float32 for part in found)
    assert next(vae.parameters()).dtype == (torch.float16 if half == "weights" else torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_decoder_that_recomputes_gives_the_same_gradient(dtype):
    plain, recomputing = autoencoder().to(dtype), autoencoder().to(dtype)
    recomputing.requires_grad_(False)  # for good: it recomputes outside of the decoding
    recomputing.enable_gradient_checkpointing()
    calls = []
    recomputing.decoder.mid_block.register_forward_pre_hook(lambda *_: calls.append(None))
    latents = normal(1, 4)[..., :2, :2]
    found, expected = (slope(latent_model(vae), latents) for vae in (recomputing, plain))
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert len(calls) == 2  # once forward and once again for the gradient


def test_a_quantised_autoencoder():
    vae = build(
        lambda: diffusers.VQModel(
            block_out_channels=(4, 8), down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=3, norm_num_groups=4,
            num_vq_embeddings=16,
        )
    ).eval()  # fmt: skip
    pipeline = SimpleNamespace(unet=unet(), scheduler=diffusers.DDIMScheduler(), vqvae=vae)
    model = as_diffusion(pipeline)
    assert model.size_multiple == 4
    x = model.encode(normal(0)).detach().requires_grad_(True)
    found = model.decode(x)
    (gradient,) = torch.autograd.grad(found.square().sum(), x)
    scale = vae.config.scaling_factor
    with torch.no_grad():
        nearest = vae.quantize(x / scale)[0]
    assert not torch.allclose(nearest, x / scale, rtol=0.1)
    nearest.requires_grad_(True)
    expected = vae.decode(nearest, force_not_quantize=True).sample
    torch.testing.assert_close(found, expected)
    (straight,) = torch.autograd.grad(expected.square().sum(), nearest)
    assert straight.abs().max() > 0
    torch.testing.assert_close(gradient, straight / scale, rtol=1e-4, atol=1e-6)


def test_channels_must_fit():
    scheduler = diffusers.DDPMScheduler()
    with pytest.raises(ValueError, match="unet of 3 input channels, RGB, got 4"):
        as_diffusion((unet(4), scheduler))
    with pytest.raises(ValueError, match="unet of 4 input channels, those of the vae, got 3"):
        as_diffusion((unet(), scheduler, autoencoder()))
    with pytest.raises(TypeError, match="expected an autoencoder"):
        as_diffusion((unet(4), scheduler, SimpleNamespace(config=SimpleNamespace())))


def test_half_precision_weights_and_training_flags():
    net = unet().to(torch.bfloat16).train()
    model = as_diffusion((net, diffusers.DDPMScheduler()))
    x_t = normal(0).requires_grad_(True)
    found = model.predict(x_t, 500)
    assert found.epsilon.dtype == torch.float32
    assert torch.autograd.grad(found.pred_x0.sum(), x_t)[0].dtype == torch.float32
    assert net.training
    assert all(p.requires_grad for p in net.parameters())


def test_size_multiple_is_enough():
    model = as_diffusion((unet(), diffusers.DDPMScheduler()))
    for height, width in itertools.product((2, 6), (4, 10)):
        assert model.predict(torch.zeros(1, 3, height, width), 0).pred_x0.shape[2:] == (
            height,
            width,
        )
