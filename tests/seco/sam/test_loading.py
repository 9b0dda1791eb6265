from __future__ import annotations

import copy
import hashlib
import http.server
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torch import nn

from seco.sam import Embedding, MaskLogits, PromptableSegmenter, as_segmenter, load_sam
from seco.sam import checkpoints as checkpoints_module
from seco.sam.sam2 import Sam2Backend
from seco.sam.segment_anything import SegmentAnythingBackend
from seco.sam.transformers import TransformersBackend


class Own:
    """A user's own segmenter."""

    device = torch.device("cpu")

    def encode(self, images: Any) -> list[Embedding]:
        return [Embedding(None, (1, 1))]

    def decode(
        self,
        embedding: Embedding,
        *,
        boxes: Any = None,
        points: Any = None,
        point_labels: Any = None,
        multimask: bool = False,
    ) -> MaskLogits:
        raise NotImplementedError


class AutoEncoder(nn.Module):
    """As diffusers': encodes and decodes, but is no segmenter."""

    device = torch.device("cpu")

    def encode(self, x: Any) -> Any:
        return x

    def decode(self, z: Any, generator: Any = None) -> Any:
        return z


def family(kind: str, **more: Any) -> nn.Module:
    """As transformers': told apart by ``config.model_type``."""
    model = nn.Module()
    model.config = SimpleNamespace(model_type=kind)
    model.vision_encoder = nn.Linear(1, 1)
    model.prompt_encoder = nn.Linear(1, 1)
    return model


class Sam2Like(nn.Module):
    image_size = 64

    def __init__(self) -> None:
        super().__init__()
        self.image_encoder = nn.Identity()
        self.sam_prompt_encoder = nn.Identity()
        self.sam_mask_decoder = nn.Identity()

    def forward_image(self) -> None: ...


def test_own_segmenters_and_wrappers_come_back_as_they_are(small_sam: Any) -> None:
    own, wrapper = Own(), SegmentAnythingBackend(small_sam)
    assert as_segmenter(own) is own
    assert load_sam(own) is own
    assert as_segmenter(wrapper) is wrapper
    assert isinstance(wrapper, PromptableSegmenter)


def test_a_delegating_segmenter_comes_back_as_it_is(small_sam: Any) -> None:
    class Counting:
        def __init__(self, inner: PromptableSegmenter) -> None:
            self.inner, self.calls, self.device = inner, 0, inner.device

        def encode(self, images: Any) -> Any:
            return self.inner.encode(images)

        def decode(self, embedding: Embedding, **prompts: Any) -> MaskLogits:
            self.calls += 1
            return self.inner.decode(embedding, **prompts)

    counting = Counting(as_segmenter(small_sam))
    assert as_segmenter(counting) is counting


def test_segment_anything_objects(small_sam: Any, untouched: Any) -> None:
    from segment_anything import SamAutomaticMaskGenerator, SamPredictor

    predictor = SamPredictor(small_sam)
    predictor.features, predictor.is_image_set = "the user's", True
    for obj in (small_sam, predictor, SamAutomaticMaskGenerator(small_sam)):
        with untouched(small_sam):
            found = load_sam(obj)
        assert isinstance(found, SegmentAnythingBackend)
        assert found.model is small_sam
    found.encode(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    assert (predictor.features, predictor.is_image_set) == ("the user's", True)


def test_compiled_model_is_recognised(small_sam: Any) -> None:
    assert isinstance(as_segmenter(torch.compile(small_sam)), SegmentAnythingBackend)


def test_sam2_objects() -> None:
    model = Sam2Like()
    for obj in (
        model,
        SimpleNamespace(model=model),
        SimpleNamespace(predictor=SimpleNamespace(model=model)),
    ):
        found = as_segmenter(obj)
        assert isinstance(found, Sam2Backend)
        assert found.model is model


def test_transformers_objects() -> None:
    processor = SimpleNamespace(image_mean=(0.5, 0.5, 0.5), image_std=(0.25, 0.25, 0.25))
    model = family("sam2")
    assert isinstance(as_segmenter(model), TransformersBackend)
    for obj in (
        (model, processor),
        (model, SimpleNamespace(image_processor=processor)),
        SimpleNamespace(model=model, image_processor=processor),  # pipeline("mask-generation")
    ):
        found = as_segmenter(obj)
        assert isinstance(found, TransformersBackend)
        assert found.model is model
        assert found.std == (63.75, 63.75, 63.75)


@pytest.mark.parametrize(
    "obj", [None, 3, "vit_h", Own, nn.Linear(1, 1), AutoEncoder(), (1, 2), torch.zeros(2)]
)
def test_unknown_objects_are_refused(obj: object) -> None:
    with pytest.raises(TypeError, match="sam: expected a segment_anything Sam or SamPredictor"):
        as_segmenter(obj)


def test_the_message_names_what_came() -> None:
    with pytest.raises(TypeError, match="got str 'vit_h'; load_sam"):
        as_segmenter("vit_h")
    with pytest.raises(TypeError, match="got Module"):
        as_segmenter(family("sam3"))


def test_load_sam_tiny() -> None:
    rng = torch.get_rng_state()
    sam = load_sam("tiny", device="cpu")
    assert isinstance(sam, SegmentAnythingBackend)
    assert torch.equal(torch.get_rng_state(), rng)
    assert sam.device == torch.device("cpu")


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("vit_x", {}, "spec: expected one of 'tiny', 'vit_b', 'vit_l', 'vit_h'.*got 'vit_x'"),
        ("tiny", {"checkpoint": "a.pth"}, "checkpoint: expected None with 'tiny'"),
        (Own(), {"checkpoint": "a.pth"}, "checkpoint: expected None with a model"),
        (Own(), {"device": "cpu"}, "device: expected None with a model"),
    ],
)
def test_options_without_meaning(spec: object, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_sam(spec, **options)


# --- checkpoints -----------------------------------------------------------------------------


@pytest.fixture
def small_vit_b(monkeypatch: pytest.MonkeyPatch, small_sam: Any) -> Any:
    """A small SAM in the place of ``vit_b``; its weights are drawn anew on every build."""
    import segment_anything

    def builder() -> Any:
        sam = copy.deepcopy(small_sam)
        for parameter in sam.parameters():
            nn.init.normal_(parameter)
        return sam.train()

    monkeypatch.setitem(segment_anything.sam_model_registry, "vit_b", builder)
    return small_sam


@pytest.fixture
def weights(tmp_path: Path, small_sam: Any) -> Path:
    path = tmp_path / "own.pth"
    torch.save(small_sam.state_dict(), path)
    return path


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


def test_checkpoint_from_a_path(small_vit_b: Any, weights: Path, images: Any) -> None:
    rng = torch.get_rng_state()
    sam = load_sam("vit_b", checkpoint=weights)
    assert torch.equal(torch.get_rng_state(), rng)
    assert isinstance(sam, SegmentAnythingBackend)
    assert not sam.model.training
    for name, value in small_vit_b.state_dict().items():
        assert torch.equal(sam.model.state_dict()[name], value)
    ours, theirs = (b.encode(images(1, 20, 30))[0] for b in (sam, as_segmenter(small_vit_b)))
    assert torch.equal(ours.features[0], theirs.features[0])


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_real_architectures_are_asked_for_all_their_weights(name: str, tmp_path: Path) -> None:
    torch.save({"image_encoder.pos_embed": torch.zeros(1, 64, 64, 5)}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=f"expected the weights of {name}, .* differs in [0-9]+"):
        load_sam(name, checkpoint=tmp_path / "a.pth")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="checkpoint: expected a file or a URL"):
        load_sam("vit_b", checkpoint=tmp_path / "none.pth")


class Payload:
    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Payload(), "expected a file of tensors"),
        ({"model": {"a": torch.zeros(1)}}, r"expected a state dict.*\['model'\]"),
        ([torch.zeros(1)], "expected a state dict"),
    ],
)
def test_files_that_hold_something_else(content: Any, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=message):
        load_sam("vit_b", checkpoint=tmp_path / "a.pth")


def test_truncated_file(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"expected a file of tensors .* damaged") as said:
        load_sam("vit_b", checkpoint=weights)
    assert "weights_only" not in str(said.value)  # torch recommends to run what may lie there


def test_file_of_html(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_text("<html>not found</html>")
    with pytest.raises(ValueError, match=r"expected a file of tensors .* damaged") as said:
        load_sam("vit_b", checkpoint=tmp_path / "a.pth")
    assert "weights_only" not in str(said.value)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Callable[[str, bytes], str]]:
    """A web server on this machine: put a file, get its URL."""
    folder = tmp_path / "www"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args: Any) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()

        def put(name: str, content: bytes) -> str:
            (folder / name).write_bytes(content)
            return f"http://127.0.0.1:{server.server_port}/{name}"

        yield put
        server.shutdown()
        thread.join()


def test_download_once(
    small_vit_b: Any, weights: Path, hub: Path, site: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    content = weights.read_bytes()
    url = site(f"sam-{hashlib.sha256(content).hexdigest()[:8]}.pth", content)
    load_sam("vit_b", checkpoint=url)
    assert "100%" in capfd.readouterr().err  # progress
    [kept] = hub.iterdir()  # under its final name, no part left over
    assert kept.read_bytes() == content
    site(kept.name, b"changed")
    load_sam("vit_b", checkpoint=url)
    assert capfd.readouterr().err == ""


def test_download_with_wrong_digest_leaves_nothing(weights: Path, hub: Path, site: Any) -> None:
    url = site("sam-00000000.pth", weights.read_bytes())
    with pytest.raises(ValueError, match="checkpoint: expected another SHA-256"):
        load_sam("vit_b", checkpoint=url)
    assert list(hub.iterdir()) == []


def test_metas_names_are_checked_by_the_full_digest(
    small_vit_b: Any, weights: Path, hub: Path, site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, content = "sam_vit_b_01ec64.pth", weights.read_bytes()
    url = site(name, content)
    with pytest.raises(ValueError, match="expected another SHA-256"):
        load_sam("vit_b", checkpoint=url)
    monkeypatch.setitem(checkpoints_module.META_SHA256, name, hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(checkpoints_module.META_URLS, "vit_b", url)
    load_sam("vit_b")
    # Put there by hand, and damaged.
    (hub / name).write_bytes(content[:-1] + b"x")
    with pytest.raises(ValueError, match="delete the file to have it downloaded again"):
        load_sam("vit_b")


def test_missing_page(hub: Path, site: Any) -> None:
    url = site("a.pth", b"")
    with pytest.raises(ConnectionError, match="404"):
        load_sam("vit_b", checkpoint=url.replace("a.pth", "b.pth"))


def test_no_internet(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: Any, **kwargs: Any) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    with pytest.raises(ConnectionError) as caught:
        load_sam("vit_h")
    message = str(caught.value)
    assert "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h_4b8939.pth" in message
    assert "load_sam('vit_h', checkpoint='/path/to/sam_vit_h_4b8939.pth')" in message
    assert str(hub / "sam_vit_h_4b8939.pth") in message


def test_url_without_a_file() -> None:
    with pytest.raises(ValueError, match="checkpoint: expected the URL of a file"):
        load_sam("vit_b", checkpoint="https://example.org")


@pytest.mark.parametrize("also", ["", "as_segmenter(nn.Linear(1, 1))"])
def test_optional_libraries_are_not_imported(also: str) -> None:
    code = f"""
import sys
import seco.sam
from seco.sam import as_segmenter
from torch import nn
try:
    {also or "pass"}
except TypeError:
    pass
heavy = {{"segment_anything", "torchvision", "transformers", "sam2", "skimage", "sklearn"}}
print(sorted(heavy & set(sys.modules)))
import torchvision
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # The second line proves that the first can fail.
    assert done.stdout.splitlines() == ["[]", "['torchvision']"]


def test_the_example_in_the_docs_runs() -> None:
    page = Path(__file__).parents[3] / "docs" / "back-ends.md"
    [code] = re.findall(r"```python\n(import torch\n.*?)```", page.read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    assert ((names["answer"].logits > 0).float().mean() - 1 / 3).abs() < 1e-6


def test_refuses_a_device_without_float64():
    class OnMps:
        device = torch.device("mps")

        def encode(self, images):
            raise AssertionError("not asked")

        def decode(self, embedding, *, boxes, points, point_labels, multimask):
            raise AssertionError("not asked")

    with pytest.raises(ValueError, match="sam: expected a model on the CPU or a CUDA device"):
        as_segmenter(OnMps())
