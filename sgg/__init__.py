"""sgg: translate labelled source images to the target domain with label-guided diffusion.

    import sgg

    translated = sgg.translate(src_img, src_label, pipeline, seg_model)

``pipeline`` is a diffusion model of target images, ``seg_model`` a segmenter of the labels'
classes. Data sets are translated by :mod:`sgg.folder` and measured by :mod:`sgg.evaluation`, which
the commands ``sgg translate`` and ``sgg evaluate`` call; bundled models for generated scenes are in
:mod:`sgg.demo`. :func:`sgg.progressive_translation` translates in stages of growing strength, with
a segmenter that learns from each, as ``sgg progressive`` does.

SGG is Peng et al., "Diffusion-based Image Translation with Label Guidance for Domain Adaptive
Semantic Segmentation", ICCV 2023.
"""

from seco.common.version import __version__ as __version__
from sgg.diffusion import (
    CallableDiffusion,
    DiffusersDiffusion,
    DiffusionModel,
    GuidedDiffusion,
    LatentDiffusion,
    Prediction,
    as_diffusion,
    from_diffusers,
)
from sgg.guidance import global_gradient, local_gradient
from sgg.guided_steps import guided_prediction, label_guidance, limit_gradient
from sgg.options import TranslationOptions
from sgg.progressive import (
    Finetune,
    FinetuneSettings,
    FinetuneTask,
    FinetuningDiverged,
    Progression,
    SourceSet,
    finetune_segmenter,
    progressive_translation,
)
from sgg.sampling import add_noise, ddim_step, ddpm_step, reverse_process, reverse_timesteps
from sgg.segmenter import IMAGENET, Segmenter, as_segmenter
from sgg.settings import PAPER, GuidanceSettings
from sgg.translation import translate

__all__ = [
    "IMAGENET",
    "PAPER",
    "CallableDiffusion",
    "DiffusersDiffusion",
    "DiffusionModel",
    "Finetune",
    "FinetuneSettings",
    "FinetuneTask",
    "FinetuningDiverged",
    "GuidanceSettings",
    "GuidedDiffusion",
    "LatentDiffusion",
    "Prediction",
    "Progression",
    "Segmenter",
    "SourceSet",
    "TranslationOptions",
    "add_noise",
    "as_diffusion",
    "as_segmenter",
    "ddim_step",
    "ddpm_step",
    "finetune_segmenter",
    "from_diffusers",
    "global_gradient",
    "guided_prediction",
    "label_guidance",
    "limit_gradient",
    "local_gradient",
    "progressive_translation",
    "reverse_process",
    "reverse_timesteps",
    "translate",
]
