from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seco.sam.sam2 import Sam2Backend

SIDE = 64


class Lookalike(nn.Module):
    """SAM 2's interface around segment_anything's prompt encoder and mask decoder."""

    image_size = SIDE
    num_feature_levels = 3
    directly_add_no_mem_embed = True

    def __init__(self, sam: Any) -> None:
        super().__init__()
        self.image_encoder = sam.image_encoder
        self.sam_prompt_encoder = sam.prompt_encoder
        self.sam_mask_decoder = LookalikeDecoder(sam.mask_decoder)
        self.no_mem_embed = nn.Parameter(torch.linspace(-1, 1, 32).view(1, 1, 32))

    def forward_image(self, batch: Tensor) -> dict[str, list[Tensor]]:
        features = self.image_encoder(batch)
        fine = batch[:, :1, ::2, ::2]
        coarse = batch[:, :1, ::4, ::4]
        return {"backbone_fpn": [torch.full_like(fine, torch.nan), fine, coarse, features]}


class LookalikeDecoder(nn.Module):
    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
        multimask_output: bool,
        repeat_image: bool,
        high_res_features: list[Tensor],
    ) -> tuple[Tensor, Tensor, None, None]:
        assert repeat_image
        fine, coarse = high_res_features
        assert fine.shape == (1, 1, 32, 32)
        assert coarse.shape == (1, 1, 16, 16)
        masks, scores = self.decoder(
            image_embeddings=image_embeddings,
            image_pe=image_pe,
            sparse_prompt_embeddings=sparse_prompt_embeddings,
            dense_prompt_embeddings=dense_prompt_embeddings,
            multimask_output=multimask_output,
        )
        return masks + 0.1 * fine, scores, None, None


@pytest.fixture
def lookalike(small_sam: Any) -> Any:
    return Lookalike(small_sam).eval()


def test_contract_lookalike(lookalike: Any, check_contract: Any) -> None:
    check_contract(Sam2Backend(lookalike))


def test_squeezes_the_whole_frame_and_passes_boxes_as_points(lookalike: Any) -> None:
    seen: dict[str, Any] = {}

    def spy(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        seen.update(kwargs)

    lookalike.sam_prompt_encoder.register_forward_pre_hook(spy, with_kwargs=True)
    backend = Sam2Backend(lookalike)
    embedding = backend.encode(torch.zeros(1, 3, 32, 128, dtype=torch.uint8))[0]
    answer = backend.decode(
        embedding,
        boxes=torch.tensor([[8.0, 4.0, 40.0, 16.0]]),
        points=torch.tensor([[[64.0, 8.0]]]),
        point_labels=torch.tensor([[0]]),
    )
    coords, labels = seen["points"]
    assert coords.tolist() == [[[4.0, 8.0], [20.0, 32.0], [32.0, 16.0]]]
    assert labels.tolist() == [[2, 3, 0]]
    assert seen["boxes"] is None
    assert answer.extent == (32.0, 32.0)


def test_hq_sam2_is_refused(lookalike: Any) -> None:
    class HighQuality(LookalikeDecoder):
        def forward(self, *args: Any, hq_token_only: bool, **kwargs: Any) -> Any:
            raise AssertionError

    lookalike.sam_mask_decoder = HighQuality(lookalike.sam_mask_decoder)
    with pytest.raises(TypeError, match=r"Lookalike.*HQ"):
        Sam2Backend(lookalike)


def test_other_modules_are_refused() -> None:
    with pytest.raises(TypeError, match=r"sam_prompt_encoder.*got Linear"):
        Sam2Backend(nn.Linear(1, 1))


@pytest.fixture(scope="module")
def real(enliven: Any) -> Any:
    pytest.importorskip("sam2", exc_type=ImportError)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own dependencies, on import
        from sam2.modeling.backbones.hieradet import Hiera
        from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
        from sam2.modeling.position_encoding import PositionEmbeddingSine
        from sam2.modeling.sam2_base import SAM2Base

        model = SAM2Base(
            image_encoder=ImageEncoder(
                trunk=Hiera(
                    embed_dim=16,
                    num_heads=1,
                    stages=(1, 1, 2, 1),
                    global_att_blocks=(3,),
                    window_pos_embed_bkg_spatial_size=(4, 4),
                    window_spec=(8, 4, 4, 2),
                ),
                neck=FpnNeck(
                    position_encoding=PositionEmbeddingSine(num_pos_feats=32),
                    d_model=32,
                    backbone_channel_list=[128, 64, 32, 16],
                    fpn_top_down_levels=[2, 3],
                ),
                scalp=1,
            ),
            memory_attention=nn.Identity(),
            memory_encoder=nn.Identity(),
            image_size=SIDE,
            directly_add_no_mem_embed=True,
            use_high_res_features_in_sam=True,
            iou_prediction_use_sigmoid=True,
            pred_obj_scores=True,
            sam_mask_decoder_extra_args={"dynamic_multimask_via_stability": True},
        )
    enliven(model)
    return model.eval()


def test_contract_real(real: Any, check_contract: Any) -> None:
    check_contract(Sam2Backend(copy.deepcopy(real)))


@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("kind", ["boxes", "points", "both"])
@pytest.mark.parametrize("count", [1, 3])
def test_equals_official_predictor(
    real: Any, images: Any, prompts: Any, kind: str, multimask: bool, count: int
) -> None:
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    image, given = images(1, 45, 70), prompts(kind, count, 45, 70)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        predictor = SAM2ImagePredictor(real)
        # Fixed for 1024 pixels in the class.
        predictor._bb_feat_sizes = [(SIDE // 4,) * 2, (SIDE // 8,) * 2, (SIDE // 16,) * 2]
        predictor.set_image(image[0].permute(1, 2, 0).numpy())
        masks, scores, _ = predictor.predict(
            point_coords=given["points"].numpy() if "points" in given else None,
            point_labels=given["point_labels"].numpy() if "points" in given else None,
            box=given["boxes"].numpy() if "boxes" in given else None,
            multimask_output=multimask,
            return_logits=True,
        )
    backend = Sam2Backend(real)
    answer = backend.decode(backend.encode(image)[0], **given, multimask=multimask)
    full = nn.functional.interpolate(answer.logits, (45, 70), mode="bilinear", align_corners=False)
    expected = torch.from_numpy(masks).view(full.shape)
    torch.testing.assert_close(full, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        answer.scores, torch.from_numpy(scores).view(answer.scores.shape), atol=1e-5, rtol=1e-4
    )


def test_lazy_caches_stay_usable_for_training(real: Any, images: Any) -> None:
    """sam2 keeps position encodings on first use; they must be ordinary tensors."""
    model = copy.deepcopy(real)
    encoding = model.image_encoder.neck.position_encoding
    encoding.cache.clear()
    Sam2Backend(model).encode(images(1, 20, 20))
    assert encoding.cache
    assert not any(tensor.is_inference() for tensor in encoding.cache.values())
