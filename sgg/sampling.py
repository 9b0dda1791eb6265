"""The diffusion chain as plain functions: noising, ancestral and DDIM reverse steps, the loop.

Every function works on samples (B, C, h, w) elementwise, so a batch of B is B single calls.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from seco.common.checks import check_choice, check_integer, check_number
from seco.common.device_time import computing
from sgg.diffusion.protocol import Prediction
from sgg.diffusion.variance import step_variance

Sampler = Literal["ddpm", "ddim"]

Predict = Callable[[Tensor, int, int], tuple[Prediction, Tensor | None]]
"""(x_t, t, number of steps to go, this one included) to the prediction and, where the step is
guided, the gradient that it descends: guidance scale times the loss's gradient at x_t."""

# Samples of a variance-preserving chain are of the order of 1; what is beyond this has diverged,
# though it may stay finite and end as a saturated image.
_LARGEST = 1e3


def reverse_timesteps(
    num_train_timesteps: int, strength: float, num_inference_steps: int | None = None
) -> list[int]:
    """Choose the steps at which the denoiser is asked, first to last.

    Args:
        num_train_timesteps: T, the length of the chain.
        strength: n / T in (0, 1]: how far the source image is noised; n is at least 1.
        num_inference_steps: how often the denoiser is asked, evenly spread over the n steps
            from the first on; all n if ``None``. More than n are n.

    Returns:
        Descending indices ``t`` into ``alphas_cumprod``, starting with ``n - 1``.

    Raises:
        TypeError, ValueError: a number of another kind or range.

    Example:
        >>> reverse_timesteps(1000, 0.6, 4)
        [599, 449, 299, 149]
        >>> reverse_timesteps(1000, 0.003)
        [2, 1, 0]
    """
    total = check_integer("num_train_timesteps", num_train_timesteps, low=1)
    share = check_number("strength", strength, low=0, high=1, low_open=True)
    n = max(1, round(share * total))
    count = n
    if num_inference_steps is not None:
        count = min(n, check_integer("num_inference_steps", num_inference_steps, low=1))
    return [n - 1 - index * n // count for index in range(count)]


def add_noise(x_0: Tensor, noise: Tensor, alpha_cumprod: float) -> Tensor:
    """Noise samples: ``sqrt(alpha_cumprod) * x_0 + sqrt(1 - alpha_cumprod) * noise``.

    Example:
        >>> add_noise(torch.tensor([1.0]), torch.tensor([2.0]), 0.36)
        tensor([2.2000])
    """
    return math.sqrt(alpha_cumprod) * x_0 + math.sqrt(1 - alpha_cumprod) * noise


def ddpm_step(
    x_t: Tensor,
    prediction: Prediction,
    alpha_cumprod: float,
    alpha_cumprod_prev: float,
    *,
    noise: Tensor | None = None,
    gradient: Tensor | None = None,
) -> Tensor:
    """Take one ancestral step, ``N(mean - variance * gradient, variance)``.

    Args:
        x_t: (B, C, h, w).
        prediction: what the denoiser says about ``x_t``.
        alpha_cumprod: at the present step.
        alpha_cumprod_prev: at the step to go to, any number of steps back; 1 is ``x_0``.
        noise: standard normal like ``x_t``; required unless the step goes to ``x_0``, where none
            is added.
        gradient: of the loss to descend, times the guidance scale; the mean is shifted against
            it by the step's covariance (SGG; Dhariwal and Nichol 2021, algorithm 1).

    Raises:
        ValueError: ``noise`` is missing.

    Example:
        >>> prediction = Prediction(pred_x0=torch.tensor([0.5]), epsilon=torch.tensor([0.1]))
        >>> ddpm_step(torch.tensor([0.6]), prediction, 0.9, 1.0)
        tensor([0.5000])
    """
    alpha = alpha_cumprod / alpha_cumprod_prev
    mean = (
        math.sqrt(alpha_cumprod_prev) * (1 - alpha) / (1 - alpha_cumprod) * prediction.pred_x0
        + math.sqrt(alpha) * (1 - alpha_cumprod_prev) / (1 - alpha_cumprod) * x_t
    )
    variance = step_variance(prediction.variance_fraction, alpha_cumprod, alpha_cumprod_prev)
    if gradient is not None:
        mean = mean - variance * gradient
    if alpha_cumprod_prev == 1:
        return mean
    if noise is None:
        raise ValueError("noise: expected a tensor for a step that does not go to x_0, got None")
    scale = variance.sqrt() if isinstance(variance, Tensor) else math.sqrt(variance)
    return mean + scale * noise


def ddim_step(
    x_t: Tensor,
    prediction: Prediction,
    alpha_cumprod: float,
    alpha_cumprod_prev: float,
    *,
    eta: float = 0.0,
    noise: Tensor | None = None,
    gradient: Tensor | None = None,
) -> Tensor:
    """Take one DDIM step, guided by shifting the noise estimate.

    Args:
        x_t: (B, C, h, w).
        prediction: what the denoiser says about ``x_t``.
        alpha_cumprod: at the present step.
        alpha_cumprod_prev: at the step to go to, any number of steps back; 1 is ``x_0``.
        eta: 0 is deterministic, 1 has the ancestral step's (small) variance.
        noise: standard normal like ``x_t``; required with ``eta`` unless the step goes to ``x_0``.
        gradient: of the loss to descend, times the guidance scale: ``epsilon`` becomes
            ``epsilon + sqrt(1 - alpha_cumprod) * gradient`` (Dhariwal and Nichol 2021,
            algorithm 2), and ``pred_x0`` follows.

    Raises:
        ValueError: ``noise`` is missing.

    Example:
        >>> prediction = Prediction(pred_x0=torch.tensor([0.5]), epsilon=torch.tensor([0.1]))
        >>> ddim_step(torch.tensor([0.6]), prediction, 0.9, 1.0)
        tensor([0.5000])

    Source: Song et al., "Denoising Diffusion Implicit Models", ICLR 2021, equation 12.
    """
    pred_x0, epsilon = prediction.pred_x0, prediction.epsilon
    if gradient is not None:
        epsilon = epsilon + math.sqrt(1 - alpha_cumprod) * gradient
        # A chain that starts without any signal has no finite answer; its caller reports that.
        factor = (1 - alpha_cumprod) / math.sqrt(alpha_cumprod) if alpha_cumprod > 0 else math.inf
        pred_x0 = pred_x0 - factor * gradient
    variance = eta**2 * step_variance(0.0, alpha_cumprod, alpha_cumprod_prev)
    stepped = (
        math.sqrt(alpha_cumprod_prev) * pred_x0
        + math.sqrt(max(1 - alpha_cumprod_prev - variance, 0.0)) * epsilon
    )
    if eta == 0 or alpha_cumprod_prev == 1:
        return stepped
    if noise is None:
        raise ValueError("noise: expected a tensor for a step with eta > 0, got None")
    return stepped + math.sqrt(variance) * noise


def check_sampler(sampler: object, eta: object) -> None:
    """Raise unless a sampler is one, and takes this randomness.

    Raises:
        TypeError, ValueError: another sampler, ``eta`` out of 0-1, or not 0 with ``"ddpm"``.
    """
    check_choice("sampler", sampler, ("ddpm", "ddim"))
    check_number("eta", eta, low=0, high=1)
    if sampler == "ddpm" and eta != 0:
        raise ValueError(
            f"eta: expected 0 with sampler 'ddpm', which has its own randomness, got {eta}"
        )


@torch.no_grad()
def reverse_process(
    x_n: Tensor,
    timesteps: Iterable[int],
    alphas_cumprod: Sequence[float] | Tensor,
    predict: Predict,
    *,
    sampler: Sampler = "ddim",
    eta: float = 0.0,
    draw_noise: Callable[[], Tensor] | None = None,
) -> Tensor:
    """Go from noised samples down to ``x_0``.

    Args:
        x_n: (B, C, h, w), noised to the first of ``timesteps``.
        timesteps: descending, see :func:`reverse_timesteps`; after the last one comes ``x_0``.
        alphas_cumprod: (T,) of the model.
        predict: the denoiser, guided or not: see ``Predict``.
        sampler: ``"ddpm"``, ancestral, or ``"ddim"``.
        eta: randomness of DDIM, at least 0 and at most 1; an error with ``"ddpm"`` unless 0.
        draw_noise: returns fresh standard normal noise like ``x_n``; required where steps are
            random, called once per step but the last.

    Returns:
        (B, C, h, w), not clamped.

    Raises:
        TypeError, ValueError: an unknown sampler, an ``eta`` that it does not take, missing noise,
            or timesteps that do not descend.
        FloatingPointError: NaN, infinity or values beyond 1,000; the message names the step.

    Example:
        >>> def predict(x_t, t, to_go):  # knows that every sample is 0.25
        ...     pred_x0 = torch.full_like(x_t, 0.25)
        ...     return Prediction(pred_x0, (x_t - 0.5 * pred_x0) / 0.75**0.5), None
        >>> reverse_process(torch.randn(1, 1, 1, 1), [0], [0.25], predict)
        tensor([[[[0.2500]]]])
    """
    check_sampler(sampler, eta)
    steps = list(timesteps)
    if any(later >= earlier for earlier, later in pairwise(steps)):
        raise ValueError(f"timesteps: expected descending steps, got {steps}")
    random = sampler == "ddpm" or eta > 0
    x = x_n
    for index, t in enumerate(steps):
        is_last = index == len(steps) - 1
        now = float(alphas_cumprod[t])
        prev = 1.0 if is_last else float(alphas_cumprod[steps[index + 1]])
        with computing(x.device):  # for the folder jobs' times
            prediction, gradient = predict(x, t, len(steps) - index)
        noise = None
        if random and not is_last:
            if draw_noise is None:
                raise ValueError("draw_noise: expected a function with random steps, got None")
            noise = draw_noise()
        if sampler == "ddpm":
            x = ddpm_step(x, prediction, now, prev, noise=noise, gradient=gradient)
        else:
            x = ddim_step(x, prediction, now, prev, eta=eta, noise=noise, gradient=gradient)
        largest = x.abs().amax().item()
        if not largest <= _LARGEST:
            cause = (
                "the denoiser's output overflows"
                if gradient is None
                else "guidance diverges (a smaller guidance_scale or a clip helps), or a model "
                "overflows"
            )
            raise FloatingPointError(
                f"sample: expected values of the order of 1, got {largest:.3g} after step t={t} "
                f"({index + 1} of {len(steps)}): {cause}"
            )
    return x
