from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seco.folder.provenance import describe_model
from seco.sam.inputs import long_side_size
from seco.sam.protocol import PromptableSegmenter
from seco.sam.segment_anything import SegmentAnythingBackend


def official(sam: Any, image: Tensor, given: dict[str, Tensor], multimask: bool) -> Any:
    """What the official predictor says about the same resized pixels."""
    from segment_anything import SamPredictor

    size = tuple(image.shape[-2:])
    predictor = SamPredictor(sam)
    target = predictor.transform.get_preprocess_shape(*size, predictor.transform.target_length)
    resized = nn.functional.interpolate(
        image.float(), target, mode="bilinear", align_corners=False, antialias=True
    )
    predictor.set_torch_image(resized, size)
    points, boxes = given.get("points"), given.get("boxes")
    return predictor.predict_torch(
        None if points is None else predictor.transform.apply_coords_torch(points, size),
        given.get("point_labels"),
        None if boxes is None else predictor.transform.apply_boxes_torch(boxes, size),
        multimask_output=multimask,
        return_logits=True,
    )


@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("kind", ["boxes", "points", "both"])
@pytest.mark.parametrize("size", [(48, 80), (97, 61), (33, 33), (5, 200), (64, 64)])
def test_equals_official_predictor(
    small_sam: Any, images: Any, prompts: Any, size: tuple[int, int], kind: str, multimask: bool
) -> None:
    image, given = images(1, *size), prompts(kind, 3, *size)
    backend = SegmentAnythingBackend(small_sam)
    answer = backend.decode(backend.encode(image)[0], **given, multimask=multimask)
    masks, scores, low = official(small_sam, image, given, multimask)

    assert answer.logits.shape == (3, 3 if multimask else 1, 32, 32)
    torch.testing.assert_close(answer.logits, low, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(answer.scores, scores, atol=1e-6, rtol=1e-5)
    input_size = long_side_size(size, 64)
    torch.testing.assert_close(
        small_sam.postprocess_masks(answer.logits, input_size, size), masks, atol=1e-5, rtol=1e-5
    )
    assert answer.extent == (32 * input_size[0] / 64, 32 * input_size[1] / 64)


def test_close_to_official_set_image(small_sam: Any, images: Any, prompts: Any) -> None:
    """The numpy path resizes with Pillow and rounds to uint8: near, not equal."""
    from segment_anything import SamPredictor

    image, given = images(1, 50, 90), prompts("boxes", 1, 50, 90)
    predictor = SamPredictor(small_sam)
    predictor.set_image(image[0].permute(1, 2, 0).numpy())
    _, _, low = predictor.predict(box=given["boxes"][0].numpy(), multimask_output=True)
    backend = SegmentAnythingBackend(small_sam)
    answer = backend.decode(backend.encode(image)[0], **given, multimask=True)
    spread = answer.logits.std()
    assert (answer.logits[0] - torch.from_numpy(low)).abs().max() < 0.05 * spread


def test_contract(small_sam: Any, check_contract: Any) -> None:
    backend = SegmentAnythingBackend(small_sam)
    assert isinstance(backend, PromptableSegmenter)
    check_contract(backend)


@pytest.mark.parametrize(
    ("size", "length"), [((333, 500), 1024), ((1, 5000), 64), ((1080, 1920), 1024), ((7, 7), 64)]
)
def test_long_side_size_is_the_official_one(size: tuple[int, int], length: int) -> None:
    from segment_anything.utils.transforms import ResizeLongestSide

    height, width = ResizeLongestSide.get_preprocess_shape(*size, length)
    assert long_side_size(size, length) == (max(1, height), max(1, width))


def test_every_part_runs_in_its_own_precision(small_sam: Any, images: Any, prompts: Any) -> None:
    backend = SegmentAnythingBackend(small_sam)
    given = prompts("boxes", 2, 40, 60)
    exact = backend.decode(backend.encode(images(1, 40, 60))[0], **given)
    small_sam.image_encoder.to(torch.bfloat16)
    embedding = backend.encode(images(1, 40, 60))[0]
    assert embedding.features[0].dtype == torch.bfloat16
    rough = backend.decode(embedding, **given)
    assert ((rough.logits > 0) == (exact.logits > 0)).float().mean() > 0.9
    small_sam.image_encoder.float()
    small_sam.mask_decoder.to(torch.bfloat16)
    rough = backend.decode(backend.encode(images(1, 40, 60))[0], **given)
    assert rough.logits.dtype == torch.float32
    assert ((rough.logits > 0) == (exact.logits > 0)).float().mean() > 0.9


def test_never_part_of_an_owner(small_sam: Any) -> None:
    owner = nn.Sequential(nn.Linear(2, 2))
    names = list(owner.state_dict())
    owner.sam = SegmentAnythingBackend(small_sam)
    assert list(owner.state_dict()) == names
    assert len(list(owner.parameters())) == 2
    assert len(list(owner.modules())) == 2
    owner.train().to(torch.float64)
    assert not small_sam.training
    assert small_sam.pixel_mean.dtype == torch.float32


class CachingEncoder(nn.Module):
    """As MobileSAM's: a foreign encoder, whose ``train`` keeps a table for evaluation."""

    img_size = 64

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 32, 8, stride=8)
        self.scale = nn.Parameter(torch.tensor(2.0))

    def train(self, mode: bool = True) -> CachingEncoder:
        super().train(mode)
        if mode:
            self.__dict__.pop("table", None)
        else:
            self.table = self.scale.detach() * 3
        return self

    def forward(self, x: Tensor) -> Tensor:
        assert not self.training
        out: Tensor = self.conv(x) * self.table
        return out


def test_mobile_sam_lookalike(small_sam: Any, check_contract: Any, untouched: Any) -> None:
    with torch.random.fork_rng(devices=[]):
        small_sam.image_encoder = CachingEncoder().eval()
    check_contract(SegmentAnythingBackend(small_sam))
    small_sam.train()
    with untouched(small_sam):  # "attributes" covers the table
        SegmentAnythingBackend(small_sam).encode(torch.zeros(1, 3, 9, 9, dtype=torch.uint8))
    assert not hasattr(small_sam.image_encoder, "table")


class HighQualityEncoder(nn.Module):
    """As HQ-SAM's: returns the embedding and a list of channel-last block features."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.img_size = encoder.img_size

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        encoded = self.encoder(x)
        early = x[:, :, ::8, ::8].permute(0, 2, 3, 1).to(encoded)
        return encoded, [early, torch.full_like(early, torch.nan)]


class HighQualityDecoder(nn.Module):
    """As HQ-SAM's: needs two more arguments and returns one mask in either mode."""

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
        hq_token_only: bool,
        interm_embeddings: list[Tensor],
    ) -> tuple[Tensor, Tensor]:
        masks, scores = self.decoder(
            image_embeddings=image_embeddings,
            image_pe=image_pe,
            sparse_prompt_embeddings=sparse_prompt_embeddings,
            dense_prompt_embeddings=dense_prompt_embeddings,
            multimask_output=multimask_output,
        )
        best, index = scores.max(dim=1, keepdim=True)
        picked = masks[torch.arange(len(masks)), index[:, 0]][:, None]
        early = interm_embeddings[0]
        assert early.shape == (1, 8, 8, 3)
        fine = early.sum(dim=3)[:, None].repeat_interleave(4, 2).repeat_interleave(4, 3)
        fine = fine.expand_as(picked)
        return (fine if hq_token_only else picked + fine), best


@pytest.fixture
def hq_sam(small_sam: Any) -> Any:
    small_sam.image_encoder = HighQualityEncoder(small_sam.image_encoder)
    small_sam.mask_decoder = HighQualityDecoder(small_sam.mask_decoder)
    return small_sam.eval()


def test_hq_sam_lookalike(hq_sam: Any, check_contract: Any, images: Any, prompts: Any) -> None:
    check_contract(SegmentAnythingBackend(hq_sam))
    given = prompts("boxes", 2, 64, 40)
    both = SegmentAnythingBackend(hq_sam)
    alone = SegmentAnythingBackend(hq_sam, hq_token_only=True)
    embedding = both.encode(images(1, 64, 40))[0]
    answers = [b.decode(embedding, **given, multimask=True).logits for b in (both, alone)]
    assert answers[0].shape == (2, 1, 32, 32)
    assert not torch.equal(*answers)
    assert torch.equal(answers[1][0], answers[1][1])


def test_what_is_no_weight_is_told_apart_in_manifests(hq_sam: Any) -> None:
    both = describe_model(SegmentAnythingBackend(hq_sam))
    alone = describe_model(SegmentAnythingBackend(hq_sam, hq_token_only=True))
    assert both != alone
    hq_sam.image_format = "BGR"
    reordered = describe_model(SegmentAnythingBackend(hq_sam))
    hq_sam.image_format = "RGB"
    assert describe_model(SegmentAnythingBackend(hq_sam)) == both
    hq_sam.pixel_mean += 1
    assert len({both, alone, reordered, describe_model(SegmentAnythingBackend(hq_sam))}) == 4


def test_bgr_model_sees_bgr(small_sam: Any, images: Any, prompts: Any) -> None:
    image, given = images(1, 30, 40), prompts("boxes", 1, 30, 40)
    backend = SegmentAnythingBackend(small_sam)
    expected = backend.decode(backend.encode(image.flip(1))[0], **given)
    small_sam.image_format = "BGR"
    assert torch.equal(backend.decode(backend.encode(image)[0], **given).logits, expected.logits)


def test_cached_half_precision_embedding_decodes(small_sam: Any, images: Any, prompts: Any) -> None:
    backend = SegmentAnythingBackend(small_sam)
    embedding = backend.encode(images(1, 30, 40))[0]
    given = prompts("boxes", 1, 30, 40)
    exact = backend.decode(embedding, **given)
    stored = type(embedding)(tuple(f.half() for f in embedding.features), embedding.size)
    torch.testing.assert_close(
        backend.decode(stored, **given).logits, exact.logits, atol=0.02, rtol=0.02
    )


def test_overflow_is_an_error(small_sam: Any, images: Any, prompts: Any) -> None:
    with torch.no_grad():
        small_sam.image_encoder.pos_embed.fill_(torch.inf)
    backend = SegmentAnythingBackend(small_sam)
    with pytest.raises(FloatingPointError, match="float16 overflows"):
        backend.decode(backend.encode(images(1, 30, 40))[0], **prompts("boxes", 1, 30, 40))


def test_gradients_of_the_caller_go_on(small_sam: Any, images: Any, prompts: Any) -> None:
    backend = SegmentAnythingBackend(small_sam)
    answer = backend.decode(backend.encode(images(1, 30, 40))[0], **prompts("boxes", 1, 30, 40))
    weight = torch.ones(1, requires_grad=True)
    (weight * answer.scores[0] * answer.logits.mean()).sum().backward()
    assert weight.grad is not None
    assert small_sam.mask_decoder.iou_token.weight.grad is None


BOX = torch.tensor([[1.0, 2.0, 9.0, 8.0]])
POINT, LABEL = torch.tensor([[[3.0, 4.0]]]), torch.tensor([[1]])


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({}, ValueError, "boxes, points: expected at least one of them"),
        ({"boxes": BOX[:, :3]}, ValueError, r"boxes: expected shape \(N, 4\).*got \(1, 3\)"),
        ({"boxes": torch.zeros(2, 5)}, ValueError, r"got \(2, 5\)"),
        ({"boxes": BOX[0]}, ValueError, r"got \(4,\)"),
        ({"boxes": BOX[:0]}, ValueError, r"N > 0, got \(0, 4\)"),
        ({"boxes": BOX * torch.nan}, ValueError, "boxes: expected finite"),
        ({"boxes": BOX.flip(1)}, ValueError, r"x0 <= x1.*got \[8.0, 9.0, 2.0, 1.0\]"),
        ({"boxes": BOX.tolist()}, TypeError, "boxes: expected a tensor"),
        ({"boxes": BOX > 3}, TypeError, "boxes: .*bool"),
        ({"points": POINT}, ValueError, "point_labels: expected with points"),
        ({"point_labels": LABEL}, ValueError, "points: expected with point_labels"),
        ({"points": POINT[0], "point_labels": LABEL}, ValueError, r"\(N, P, 2\).*got \(1, 2\)"),
        ({"points": POINT[:, :0], "point_labels": LABEL[:, :0]}, ValueError, "P > 0"),
        ({"points": POINT / 0, "point_labels": LABEL}, ValueError, "points: expected finite"),
        ({"points": POINT, "point_labels": LABEL[0]}, ValueError, r"point_labels: .*\(1, 1\)"),
        ({"points": POINT, "point_labels": LABEL.float()}, TypeError, "point_labels: .*float32"),
        ({"points": POINT, "point_labels": LABEL - 2}, ValueError, r"point_labels: .*\[-1\]"),
        (
            {"boxes": BOX.repeat(2, 1), "points": POINT, "point_labels": LABEL},
            ValueError,
            "the same N, got 2 and 1",
        ),
    ],
)
def test_bad_prompts(
    small_sam: Any, given: dict[str, Any], error: type[Exception], message: str
) -> None:
    backend = SegmentAnythingBackend(small_sam)
    embedding = backend.encode(torch.zeros(1, 3, 10, 12, dtype=torch.uint8))[0]
    with pytest.raises(error, match=message):
        backend.decode(embedding, **given)


def test_prompts_about_several_images_say_how_many_each(small_sam: Any) -> None:
    backend = SegmentAnythingBackend(small_sam)
    large, small = (
        backend.encode(torch.zeros(1, 3, *size, dtype=torch.uint8))[0]
        for size in ((10, 12), (9, 12))
    )
    for counts in ([1], [2, 0, 0], [3, -1], [1, 2]):
        with pytest.raises(ValueError, match=r"counts: expected one per embedding, 2, .* 2 in all"):
            backend.decode_several([large, large], counts, boxes=BOX.repeat(2, 1))
    with pytest.raises(ValueError, match=r"one size, got \[\(9, 12\), \(10, 12\)\]"):
        backend.decode_several([large, small], [1, 1], boxes=BOX.repeat(2, 1))


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        (torch.zeros(3, 4, 4, dtype=torch.uint8), ValueError, r"\(B, 3, H, W\).*\(3, 4, 4\)"),
        (torch.zeros(1, 4, 4, 3, dtype=torch.uint8), ValueError, r"got \(1, 4, 4, 3\)"),
        (torch.zeros(1, 3, 0, 4, dtype=torch.uint8), ValueError, "empty side"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.float64), TypeError, "float64"),
        (torch.zeros(1, 3, 4, 4).numpy(), TypeError, "ndarray"),
        (torch.full((1, 3, 4, 4), torch.nan), ValueError, "0-255, got nan"),
        (torch.full((1, 3, 4, 4), -2.0), ValueError, "0-255, got -2 to -2"),
        (torch.full((1, 3, 4, 4), 300.0), ValueError, "0-255, got 300"),
    ],
)
def test_bad_images(small_sam: Any, batch: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"images: .*{message}"):
        SegmentAnythingBackend(small_sam).encode(batch)


def test_integer_and_double_coordinates(small_sam: Any, images: Any) -> None:
    backend = SegmentAnythingBackend(small_sam)
    embedding = backend.encode(images(1, 30, 40))[0]
    answers = [
        backend.decode(embedding, boxes=BOX.to(t)).logits for t in (torch.int64, torch.float64)
    ]
    assert torch.equal(*answers)
    assert torch.equal(answers[0], backend.decode(embedding, boxes=BOX).logits)


def test_one_pixel_image(small_sam: Any) -> None:
    backend = SegmentAnythingBackend(small_sam)
    embedding = backend.encode(torch.zeros(1, 3, 1, 1, dtype=torch.uint8))[0]
    answer = backend.decode(embedding, boxes=torch.tensor([[0.0, 0.0, 0.0, 0.0]]))
    assert answer.extent == (32.0, 32.0)


def test_refuses_other_modules(small_sam: Any) -> None:
    broken = copy.deepcopy(small_sam)
    del broken.prompt_encoder
    with pytest.raises(TypeError, match="prompt_encoder"):
        SegmentAnythingBackend(broken)
