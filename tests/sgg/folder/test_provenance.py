"""What a manifest says of the models that its outputs were made with."""

from __future__ import annotations

from importlib.metadata import version

import pytest
import torch
from gaussian_domain import target_domain
from torchvision.models import segmentation

import sgg
from sgg.folder.provenance import manifest_of


def test_the_manifest_names_the_libraries_of_the_models():
    unet = pytest.importorskip("diffusers").UNet2DModel(
        block_out_channels=(8,), down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
        layers_per_block=1, norm_num_groups=2, add_attention=False,
    )  # fmt: skip
    network = segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None)
    models = {
        "diffusion": sgg.CallableDiffusion(unet, [0.9, 0.5]),
        "segmenter": sgg.Segmenter(network.forward, normalization=None),
    }
    manifest = manifest_of("job", {"seed": 1}, models)
    assert set(manifest.models) == {"diffusion", "segmenter"}
    assert manifest.versions == {
        "sgg": sgg.__version__,
        **{
            name: version(name) for name in ("torch", "numpy", "pillow", "diffusers", "torchvision")
        },
    }


def test_no_library_is_named_that_no_model_comes_from():
    own = sgg.Segmenter(torch.nn.Conv2d(3, 2, 1), normalization=None)
    manifest = manifest_of("job", {}, {"diffusion": target_domain(), "segmenter": own, "no": None})
    assert set(manifest.models) == {"diffusion", "segmenter"}
    assert set(manifest.versions) == {"sgg", "torch", "numpy", "pillow"}
