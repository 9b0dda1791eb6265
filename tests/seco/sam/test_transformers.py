from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

from seco.folder.provenance import describe_model
from seco.sam.inputs import long_side_size
from seco.sam.transformers import TransformersBackend

KINDS = ["sam", "sam_hq", "sam2"]


def small_vision(**more: Any) -> dict[str, Any]:
    return {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 64,
        "patch_size": 8,
        "output_channels": 32,
        "num_pos_feats": 16,
        "window_size": 3,
        "global_attn_indexes": [1],
        "mlp_dim": 64,
        **more,
    }


def small_prompt(**more: Any) -> dict[str, Any]:
    return {"hidden_size": 32, "image_size": 64, "patch_size": 8, "mask_input_channels": 4, **more}


def small_decoder(**more: Any) -> dict[str, Any]:
    return {
        "hidden_size": 32,
        "mlp_dim": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "iou_head_hidden_dim": 32,
        "iou_head_depth": 2,
        **more,
    }


def build(kind: str) -> Any:
    import transformers

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own, on construction
        torch.manual_seed(0)
        if kind == "sam":
            model: Any = transformers.SamModel(
                transformers.SamConfig(
                    vision_config=small_vision(),
                    prompt_encoder_config=small_prompt(image_embedding_size=8),
                    mask_decoder_config=small_decoder(),
                )
            )
        elif kind == "sam_hq":
            model = transformers.SamHQModel(
                transformers.SamHQConfig(
                    vision_config=small_vision(global_attn_indexes=[0, 1]),
                    prompt_encoder_config=small_prompt(image_embedding_size=8),
                    mask_decoder_config=small_decoder(vit_dim=32),
                )
            )
        else:
            backbone = {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": 16,
                "image_size": [64, 64],
                "blocks_per_stage": [1, 1, 2, 1],
                "embed_dim_per_stage": [16, 32, 64, 128],
                "num_attention_heads_per_stage": [1, 2, 4, 8],
                "window_size_per_stage": [8, 4, 4, 2],
                "window_positional_embedding_background_size": [4, 4],
                "global_attention_blocks": [3],
            }
            model = transformers.Sam2Model(
                transformers.Sam2Config(
                    vision_config={
                        "backbone_config": backbone,
                        "backbone_channel_list": [128, 64, 32, 16],
                        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
                        "fpn_hidden_size": 32,
                    },
                    prompt_encoder_config=small_prompt(patch_size=16),
                    mask_decoder_config=small_decoder(),
                )
            )
    return model.eval()


@pytest.fixture(scope="module")
def built(enliven: Any) -> dict[str, Any]:
    models = {kind: build(kind) for kind in KINDS}
    for model in models.values():
        enliven(model)
    return models


@pytest.fixture
def model(built: dict[str, Any]) -> Callable[[str], Any]:
    return lambda kind: copy.deepcopy(built[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_contract(model: Callable[[str], Any], kind: str, check_contract: Any) -> None:
    check_contract(TransformersBackend(model(kind)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("which", ["boxes", "points", "both"])
@pytest.mark.parametrize("multimask", [False, True])
def test_equals_the_model_called_directly(
    model: Callable[[str], Any], images: Any, prompts: Any, kind: str, which: str, multimask: bool
) -> None:
    """One call with pixel values and hand-scaled prompts, no reuse of embeddings."""
    sam, (height, width) = model(kind), (45, 70)
    image, given = images(1, height, width), prompts(which, 3, height, width)
    backend = TransformersBackend(sam)
    answer = backend.decode(backend.encode(image)[0], **given, multimask=multimask)

    target = (64, 64) if kind == "sam2" else long_side_size((height, width), 64)
    pixels = torch.nn.functional.interpolate(
        image.float(), target, mode="bilinear", align_corners=False, antialias=True
    )
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = (pixels / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    pixels = torch.nn.functional.pad(pixels, (0, 64 - target[1], 0, 64 - target[0]))
    ratio = torch.tensor([target[1] / width, target[0] / height])
    inputs: dict[str, Any] = {"pixel_values": pixels}
    if "boxes" in given:
        inputs["input_boxes"] = (given["boxes"] * ratio.repeat(2))[None]
    if "points" in given:
        inputs["input_points"] = (given["points"] * ratio)[None]
        inputs["input_labels"] = given["point_labels"][None]
    with torch.no_grad():
        expected = sam(**inputs, multimask_output=multimask)
    torch.testing.assert_close(answer.logits, expected.pred_masks[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(answer.scores, expected.iou_scores[0], atol=1e-5, rtol=1e-4)
    side = answer.logits.shape[-1]
    assert answer.extent == (side * target[0] / 64, side * target[1] / 64)


@pytest.mark.parametrize("kind", ["sam", "sam2"])
def test_agrees_with_the_processor(
    model: Callable[[str], Any], images: Any, prompts: Any, kind: str
) -> None:
    """The library's own way from picture to low-resolution masks; it rounds to uint8 between."""
    import transformers

    if kind == "sam":
        processor: Any = transformers.SamProcessor(
            transformers.SamImageProcessor(
                size={"longest_edge": 64}, pad_size={"height": 64, "width": 64}
            )
        )
    else:
        processor = transformers.Sam2Processor(
            transformers.Sam2ImageProcessor(size={"height": 64, "width": 64}), target_size=64
        )
    sam = model(kind)
    image, given = images(1, 45, 70), prompts("boxes", 3, 45, 70)
    inputs = processor(
        images=image[0].permute(1, 2, 0).numpy(),
        input_boxes=[given["boxes"].tolist()],
        return_tensors="pt",
    )
    with torch.no_grad():
        expected = sam(
            pixel_values=inputs["pixel_values"],
            input_boxes=inputs["input_boxes"].float(),
            multimask_output=True,
        ).pred_masks[0]
    backend = TransformersBackend(sam, processor)
    answer = backend.decode(backend.encode(image)[0], **given, multimask=True)
    assert (answer.logits - expected).abs().max() < 0.05 * expected.std()


def test_processor_sets_mean_and_std(model: Callable[[str], Any], images: Any) -> None:
    class Processor:
        image_mean = (0.5, 0.5, 0.5)
        image_std = (0.5, 0.5, 0.5)

    sam = model("sam")
    other = TransformersBackend(sam, Processor())
    assert np.allclose(other.mean, 127.5)
    assert np.allclose(other.std, 127.5)
    image = images(1, 30, 40)
    features = [b.encode(image)[0].features[0] for b in (other, TransformersBackend(sam))]
    assert not torch.allclose(*features, atol=1e-3)
    # So outputs made with one are not taken for the other's.
    assert describe_model(other) != describe_model(TransformersBackend(sam))


def test_other_models_are_refused_by_name() -> None:
    import transformers

    with torch.random.fork_rng(devices=[]):
        other = transformers.BertModel(
            transformers.BertConfig(
                hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
            )
        )
    with pytest.raises(TypeError, match="BertModel"):
        TransformersBackend(other)
