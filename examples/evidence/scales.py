"""How large the comparisons are: three scales."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class SecoScale:
    """Of the suite about labels.

    Args:
        size: height and width of the images.
        crop: what a step sees of one.
        target: unlabelled images of a seed; of the open images as well.
        source: labelled source images of a seed.
        held_out: target images that are measured, the same for all seeds.
        teacher_steps: training of the source model, where none is bundled (CamVid).
        steps: of a student that starts from the source model.
        new_steps: of one that starts anew (black-box).
        batch: crops of a step, as many again of the source's.
        rate: first learning rate.
        rounds: refine, train, predict: how often.
        scc_iterations: of fitting a corrector; ``None``: as its settings say.
        sensitivity: option -> values beside the default.
    """

    size: tuple[int, int]
    crop: tuple[int, int]
    target: int
    source: int
    held_out: int
    teacher_steps: int
    steps: int
    new_steps: int
    batch: int = 4
    rate: float = 1e-3
    rounds: int = 3
    scc_iterations: int | None = None
    sensitivity: dict[str, tuple[float, ...]] = field(
        default_factory=lambda: {
            "tau_ns": (0.1, 0.6, 0.9),
            "tau_cr": (0.5, 0.9, 0.95),
            "box_enlargement": (1.0, 1.25, 2.0),
            "keep_fraction": (0.25, 0.75, 1.0),
        }
    )


@dataclass(frozen=True)
class SggScale:
    """Of the suite about translation.

    Args:
        size: height and width of the images.
        images: source images of a seed.
        held_out: target images that are measured, the same for all seeds.
        ruler: further target images, which say where the target is.
        strengths: of the translations, and of the stages of progressive translation.
        ddim_steps: of the translations.
        guidance_scale: of the guided arms; it does best between 0.5 and 1, see
            docs/translation.md.
        steps: of training on a translated set.
        batch: crops of such a step.
        rate: its first learning rate: low, so that few images take little from a model that knows
            more of the source.
        stage_steps: of fine-tuning, at every stage.
        stage_rate: its first learning rate.
        guidance_scales: the sensitivity to it, beside the one above, at the middle strength.
        stages: the sensitivity to the number of stages up to the last strength.
        target: unlabelled target images of self-training, where both papers meet.
        adapt_steps: of that training.
        adapt_rate: its first learning rate.
        plain_scenes: that the source model of ``streets-plain`` learns from.
        plain_steps: of that training, of twice the batch.
    """

    size: tuple[int, int] = (64, 128)
    images: int = 48
    held_out: int = 150
    ruler: int = 100
    strengths: tuple[float, ...] = (0.3, 0.5, 0.7)
    ddim_steps: int = 10
    guidance_scale: float = 0.5
    steps: int = 300
    batch: int = 8
    rate: float = 1e-4
    stage_steps: int = 150
    stage_rate: float = 3e-4
    guidance_scales: tuple[float, ...] = (0.25, 1.0, 2.0)
    stages: tuple[tuple[float, ...], ...] = ((0.5, 0.7), (0.3, 0.4, 0.5, 0.6, 0.7))
    target: int = 48
    adapt_steps: int = 150
    adapt_rate: float = 1e-3
    plain_scenes: int = 600
    plain_steps: int = 1500


@dataclass(frozen=True)
class Scale:
    """Both."""

    name: str
    seco: SecoScale
    sgg: SggScale


SCALES = {
    scale.name: scale
    for scale in (
        Scale(
            "smoke",
            SecoScale(
                size=(64, 64), crop=(48, 48), target=2, source=2, held_out=2, teacher_steps=2,
                steps=2, new_steps=2, batch=2, rounds=2, scc_iterations=5,
                sensitivity={"tau_ns": (0.6,), "tau_cr": (0.95,), "box_enlargement": (2.0,),
                             "keep_fraction": (1.0,)},
            ),
            SggScale(
                images=2, held_out=2, ruler=4, strengths=(0.1, 0.2), ddim_steps=2, steps=2,
                batch=2, stage_steps=2, guidance_scales=(1.0,), stages=((0.2,),), target=2,
                adapt_steps=2, plain_scenes=2, plain_steps=2,
            ),
        ),
        Scale(
            "cpu",
            SecoScale(
                size=(256, 256), crop=(160, 160), target=40, source=40, held_out=60,
                teacher_steps=600, steps=100, new_steps=300,
            ),
            SggScale(),
        ),
        Scale(
            "gpu",
            SecoScale(
                size=(512, 1024), crop=(384, 384), target=400, source=400, held_out=300,
                teacher_steps=6000, steps=2000, new_steps=10000, batch=8,
            ),
            SggScale(
                images=400, held_out=300, steps=2000, batch=16, ddim_steps=50, stage_steps=1000,
                target=400, adapt_steps=1000,
            ),
        ),
    )
}  # fmt: skip
