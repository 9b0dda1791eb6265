"""Specs of models: every kind that a command takes, with tiny random weights."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pages
import pytest
import torch
from safetensors.torch import save
from torch import nn

from seco.common.labels import LabelSpace
from sgg import IMAGENET, CallableDiffusion, Segmenter, as_diffusion, from_diffusers
from sgg.diffusion import DiffusersDiffusion, LatentDiffusion
from sgg.folder import describe_model, load_diffusion, load_segmenter
from sgg.folder.classes import check_classes
from sgg.folder.stored import stored_dtype, variant_in

IMAGES = torch.linspace(-1, 1, 3 * 16 * 24).reshape(1, 3, 16, 24)

OWN_MODULE = """
import torch
from torch import nn
import sgg

def diffusion():
    return sgg.CallableDiffusion(lambda x_t, t: 0 * x_t, [0.9, 0.5])

def network():
    return nn.Conv2d(3, 4, 1)

def segmenter():
    return sgg.Segmenter(nn.Conv2d(3, 4, 1), normalization=None)

def conditioned():
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DModel
    vae = AutoencoderKL(block_out_channels=(4,), norm_num_groups=2)
    unet = UNet2DModel(
        in_channels=4, out_channels=4, block_out_channels=(4,), norm_num_groups=2,
        down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",), num_class_embeds=5,
        add_attention=False, layers_per_block=1,
    )
    condition = {"class_labels": torch.tensor([1])}
    return sgg.from_diffusers((unet, DDPMScheduler(), vae), condition=condition)

def guided():
    from types import SimpleNamespace
    process = SimpleNamespace(
        p_mean_variance=None, alphas_cumprod=[0.9, 0.5], betas=[0.1, 0.4],
        model_mean_type=SimpleNamespace(name="EPSILON"),
    )
    return sgg.GuidedDiffusion(nn.Conv2d(3, 3, 1), process)

def module_denoiser():
    return sgg.CallableDiffusion(nn.Conv2d(3, 3, 1), [0.9, 0.5])

def elsewhere():
    return sgg.CallableDiffusion(lambda x_t, t: 0 * x_t, [0.9, 0.5], device="cpu")

class Own:
    alphas_cumprod = torch.tensor([0.9, 0.5])
    size_multiple = 1

    def __init__(self):
        self.network = nn.Conv2d(3, 3, 1)

    @property
    def device(self):
        return self.network.weight.device

    def predict(self, x_t, t): ...
    def encode(self, images): ...
    def decode(self, x_0): ...

class Stays(Own):
    device = torch.device("cpu")

def path():
    return "sd15"

number = 3
"""


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    (tmp_path / "own_models.py").write_text(OWN_MODULE)
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    yield "own_models"
    sys.modules.pop("own_models", None)
    assert sys.path == before


@pytest.fixture(scope="module")
def diffusers():
    return pytest.importorskip("diffusers")


def small_unet(diffusers, channels: int = 3):
    return diffusers.UNet2DModel(
        sample_size=16, in_channels=channels, out_channels=channels, layers_per_block=1,
        block_out_channels=(8, 8), norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
    )  # fmt: skip


def test_a_folder_of_a_pipeline(diffusers, tmp_path):
    scheduler = diffusers.DDPMScheduler(num_train_timesteps=10, prediction_type="v_prediction")
    unet = small_unet(diffusers)
    diffusers.DDPMPipeline(unet, scheduler).save_pretrained(tmp_path / "pipe")
    torch.manual_seed(3)
    before = torch.get_rng_state()
    model = load_diffusion(tmp_path / "pipe")
    assert torch.equal(torch.get_rng_state(), before)
    assert isinstance(model, DiffusersDiffusion)
    assert model.prediction_type == "v_prediction"
    expected = as_diffusion((unet, scheduler)).predict(IMAGES, 7).pred_x0
    torch.testing.assert_close(model.predict(IMAGES, 7).pred_x0, expected)
    assert describe_model(model) == describe_model(as_diffusion((unet, scheduler)))


@pytest.mark.parametrize("variant", [None, "fp16"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_folder_of_parts_in_half_precision(diffusers, tmp_path, dtype, variant):
    unet, vae = small_unet(diffusers, channels=4).to(dtype), small_vae(diffusers).to(dtype)
    diffusers.DDIMScheduler(num_train_timesteps=10).save_pretrained(tmp_path / "scheduler")
    for part, name in ((unet, "unet"), (vae, "vae")):
        part.save_pretrained(tmp_path / name, variant=variant)
    model = load_diffusion(str(tmp_path))
    assert model.latents.unet.dtype == model.autoencoder.dtype == torch.float32
    torch.testing.assert_close(model.latents.unet.conv_in.weight, unet.conv_in.weight.float())
    elsewhere = load_diffusion(str(tmp_path), device="meta")
    assert elsewhere.latents.unet.dtype == dtype
    # which overflows in float16, as its config says
    expected = torch.float32 if dtype == torch.float16 else dtype
    assert elsewhere.autoencoder.dtype == expected


def test_weights_of_a_folder_that_are_not_of_one_kind(diffusers, tmp_path):
    unet = small_unet(diffusers)
    unet.conv_in.half()
    unet.save_pretrained(tmp_path)
    assert stored_dtype(tmp_path) == torch.float32
    unet.half().save_pretrained(tmp_path, variant="fp16")
    assert variant_in(tmp_path) is None  # the weights without one are there too
    assert stored_dtype(tmp_path) == torch.float32
    (tmp_path / "diffusion_pytorch_model.safetensors").rename(
        tmp_path / "diffusion_pytorch_model.ema-00001-of-00001.safetensors"
    )
    with pytest.raises(ValueError, match=r"expected weights of one variant.*got ema, fp16"):
        variant_in(tmp_path)
    (tmp_path / "diffusion_pytorch_model.ema-00001-of-00001.safetensors").unlink()
    assert stored_dtype(tmp_path) == torch.float16
    (tmp_path / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"damaged")
    with pytest.raises(OSError, match="expected safetensors"):
        stored_dtype(tmp_path)


def small_vae(diffusers):
    return diffusers.AutoencoderKL(
        block_out_channels=(4, 4), norm_num_groups=2, down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip


def test_a_folder_of_a_latent_model(diffusers, tmp_path):
    unet, vae = small_unet(diffusers, channels=4), small_vae(diffusers)
    scheduler = diffusers.DDPMScheduler(num_train_timesteps=10)
    for part, name in ((unet, "unet"), (vae, "vae"), (scheduler, "scheduler")):
        part.save_pretrained(tmp_path / name)
    model = load_diffusion(tmp_path)
    assert isinstance(model, LatentDiffusion)
    expected = from_diffusers((unet, scheduler, vae)).encode(IMAGES)
    torch.testing.assert_close(model.encode(IMAGES), expected)


def of_the_page(name: str) -> str:
    """The block of code with a function in the page on translated sets."""
    blocks = pages.python_blocks(Path(__file__).parents[3] / "docs/translated-sets.md")
    (found,) = (block for block in blocks if f"def {name}(" in block)
    return found


def test_stable_diffusion_as_the_page_has_it(diffusers, tmp_path, monkeypatch):
    transformers = pytest.importorskip("transformers")
    words = ["<|startoftext|>", "<|endoftext|>", "a</w>", "street</w>", "a"]
    (tmp_path / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(words)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(
        str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"), model_max_length=77
    )
    config = transformers.CLIPTextConfig(
        vocab_size=5, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=2, projection_dim=8, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    unet = diffusers.UNet2DConditionModel(
        sample_size=8, block_out_channels=(4, 8), layers_per_block=1, norm_num_groups=2,
        cross_attention_dim=8, attention_head_dim=2,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )  # fmt: skip
    diffusers.StableDiffusionPipeline(
        small_vae(diffusers), transformers.CLIPTextModel(config), tokenizer, unet,
        diffusers.PNDMScheduler(steps_offset=1), None, None, requires_safety_checker=False,
    ).save_pretrained(tmp_path / "sd-target")  # fmt: skip
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"a command, .*: --diffusion package.module:function"):
        load_diffusion("sd-target")
    (tmp_path / "page_diffusion.py").write_text(of_the_page("stable_diffusion"))
    model = load_diffusion("page_diffusion:stable_diffusion")
    assert isinstance(model, LatentDiffusion)
    text = model.latents.condition["encoder_hidden_states"]
    assert text.shape == (1, 77, 8)
    assert not text.requires_grad
    assert model.predict(model.encode(IMAGES), 500).pred_x0.shape == (1, 4, 8, 12)


def test_a_segmenter_of_mmsegmentation_as_the_page_has_it(tmp_path, monkeypatch):
    network = EncodeDecode()

    def init_segmentor(  # as DAFormer has it
        config, checkpoint=None, device="cuda:0", classes=None, palette=None, revise_checkpoint=()
    ):
        assert all(isinstance(path, str) for path in (config, checkpoint))
        for name, new in (("module.a", "a"), ("model.a", "a"), ("ema_model.a", "ema_model.a")):
            for pattern, other in revise_checkpoint:
                name = re.sub(pattern, other, name)
            assert name == new
        return network.to(device)

    for name in ("mmseg", "mmseg.apis"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setattr(sys.modules["mmseg.apis"], "init_segmentor", init_segmentor, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page_segmenter.py").write_text(of_the_page("daformer"))
    segmenter = load_segmenter("page_segmenter:daformer")
    torch.testing.assert_close(segmenter(IMAGES), Segmenter(network)(IMAGES))


class EncodeDecode(nn.Module):
    """What is asked of a segmentor of mmsegmentation 0.x."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Conv2d(3, 4, 1)

    def encode_decode(self, img, img_metas):
        return self.backbone(img)


def test_kinds_that_are_not_supported_are_named(diffusers, tmp_path):
    small_unet(diffusers).save_pretrained(tmp_path / "unet")
    diffusers.EDMEulerScheduler().save_pretrained(tmp_path / "scheduler")
    with pytest.raises(ValueError, match="EDM, which is not supported"):
        load_diffusion(tmp_path)


@pytest.mark.parametrize("load", [load_diffusion, load_segmenter])
@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("nowhere", "expected a .*, got nowhere"),
        ("no_such_package.models:make", "expected an importable module, got no no_such_package"),
        ("json:no_such_function", "expected a function no_such_function in json, got None"),
        ("own_models:number", "expected a function number in own_models, got 3"),
    ],
)
def test_specs_of_nothing_are_refused(own_module, load, spec, said):
    with pytest.raises(ValueError, match=said):
        load(spec)


def test_folders_of_something_else_are_refused(tmp_path):
    (tmp_path / "transformer").mkdir()
    with pytest.raises(ValueError, match=r"unet and scheduler in it, got transformer"):
        load_diffusion(tmp_path)
    with pytest.raises(ValueError, match=r"transformers folder with config.json"):
        load_segmenter(tmp_path)
    for name in ("unet", "scheduler"):
        (tmp_path / name).mkdir()
    (tmp_path / "unet/config.json").write_text(json.dumps({"_class_name": "TheirUNet"}))
    pytest.importorskip("diffusers")
    with pytest.raises(ValueError, match="expected a class of diffusers, got TheirUNet"):
        load_diffusion(tmp_path)


def test_functions(own_module):
    model = load_diffusion(f"{own_module}:diffusion")
    assert isinstance(model, CallableDiffusion)
    plain = load_segmenter(f"{own_module}:network", normalization=IMAGENET)
    assert plain(IMAGES).shape == (1, 4, 16, 24)
    assert describe_model(plain) != describe_model(Segmenter(plain.model, normalization=None))
    own = load_segmenter(f"{own_module}:segmenter")
    expected = Segmenter(own.model, normalization=None)(IMAGES)
    torch.testing.assert_close(own(IMAGES), expected)
    assert not plain.takes(None)
    assert load_segmenter(f"{own_module}:network", normalization=None).takes(None)
    for load in (load_diffusion, load_segmenter):
        with pytest.raises(TypeError, match="got str 'sd15'"):
            load(f"{own_module}:path")


@pytest.mark.parametrize(
    "name", ["conditioned", "guided", "module_denoiser", "diffusion", "elsewhere", "Own"]
)
def test_what_a_function_returns_goes_to_the_device(own_module, name):
    pytest.importorskip("diffusers")
    model = load_diffusion(f"{own_module}:{name}", device="meta")
    assert model.device == torch.device("meta")
    held = [model, getattr(model, "latents", None)]
    modules = [m for one in held for m in getattr(one, "__dict__", {}).values()]
    for module in (m for m in modules if isinstance(m, nn.Module)):
        assert {p.device.type for p in module.parameters()} == {"meta"}
    back = load_diffusion(f"{own_module}:{name}", device="cpu")
    assert back.device == torch.device("cpu")


def test_a_function_may_import_from_the_current_folder(own_module, tmp_path, monkeypatch):
    (tmp_path / "own_network.py").write_text("from torch import nn\nnetwork = nn.Conv2d(3, 4, 1)\n")
    (tmp_path / "lazy_models.py").write_text(
        "def segmenter():\n    from own_network import network\n    return network\n"
    )
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder not in ("", ".")])
    for name in ("own_network", "lazy_models"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert load_segmenter("lazy_models:segmenter")(IMAGES).shape == (1, 4, 16, 24)


def test_a_model_that_stays_where_it_is_is_refused(own_module):
    with pytest.raises(ValueError, match="can be put on meta, got Stays, which stays on cpu"):
        load_diffusion(f"{own_module}:Stays", device="meta")
    load_diffusion(f"{own_module}:Stays", device="cpu")


def test_segmenters_go_to_the_device(own_module):
    for name in ("network", "segmenter"):
        assert load_segmenter(f"{own_module}:{name}", device="meta").device.type == "meta"


def test_an_error_of_the_users_module_is_its_own(own_module, tmp_path):
    (tmp_path / "broken_models.py").write_text("import no_such_dependency\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        load_segmenter("broken_models:make")


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")  # of making it
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_torchscript_file(tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Dropout(0.5))
    path = tmp_path / "segmenter.pt"
    torch.jit.save(torch.jit.trace(network.eval(), IMAGES), path)
    segmenter = load_segmenter(path, normalization=None)
    expected = Segmenter(network, normalization=None)(IMAGES)
    torch.testing.assert_close(segmenter(IMAGES), expected)
    path.write_bytes(b"not a script")
    with pytest.raises(ValueError, match="expected a TorchScript file"):
        load_segmenter(path)


@pytest.mark.parametrize(
    ("said", "variant"), [("none", "fp16"), ("own", None), ("off", None), ("unit", None)]
)
def test_a_transformers_folder(tmp_path, said, variant):
    transformers = pytest.importorskip("transformers")
    config = transformers.SegformerConfig(
        num_labels=5, hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], decoder_hidden_size=8,
        num_attention_heads=[1, 1, 1, 1],
    )  # fmt: skip
    network = transformers.SegformerForSemanticSegmentation(config)
    network.save_pretrained(tmp_path, variant=variant)
    normalization = IMAGENET
    if said != "none":
        mean, std = ([0.0] * 3, [1] * 3) if said == "unit" else ([0.5] * 3, [0.2] * 3)
        own = {"do_normalize": said != "off", "image_mean": mean, "image_std": std}
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(own))
        normalization = (mean, std) if said == "own" else None
    before = torch.get_rng_state()
    segmenter = load_segmenter(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    images = nn.functional.interpolate(IMAGES, (64, 64))
    expected = Segmenter(network, normalization=normalization)(images)
    torch.testing.assert_close(segmenter(images), expected)
    check_classes(segmenter, LabelSpace(names=tuple("abcde")), (64, 64))
    with pytest.raises(ValueError, match="expected 4 classes, as the label space has, got 5"):
        check_classes(segmenter, LabelSpace(names=tuple("abcd")), (64, 64))
    assert load_segmenter(tmp_path, normalization=normalization).takes(normalization)
    with pytest.raises(ValueError, match="says itself what RGB it takes"):
        load_segmenter(tmp_path, normalization=(HALF[1], HALF[0]))


HALF = ((0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
BYTES = tuple(tuple(255 * value for value in values) for values in IMAGENET)


@pytest.mark.parametrize(
    ("given", "own", "same"),
    [
        (None, None, True),
        (IMAGENET, IMAGENET, True),
        (BYTES, IMAGENET, True),
        (IMAGENET, None, False),
        (None, IMAGENET, False),
        (HALF, IMAGENET, False),
        ((IMAGENET[0], HALF[1]), IMAGENET, False),
    ],
)
def test_a_normalization_that_a_model_does_not_take_is_refused(
    tmp_path, monkeypatch, given, own, same
):
    assert Segmenter(abs, normalization=own).takes(given) is same
    (tmp_path / "saying_models.py").write_text(
        "import sgg, torch\n"
        f"def make():\n    return sgg.Segmenter(torch.nn.Conv2d(3, 4, 1), normalization={own})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "saying_models", raising=False)
    if same:
        assert load_segmenter("saying_models:make", normalization=given).takes(own)
    else:
        with pytest.raises(ValueError, match="saying_models:make says itself what RGB it takes"):
            load_segmenter("saying_models:make", normalization=given)


def test_bundled_models_say_what_they_take():
    for name in ("demo", "demo-oracle"):
        load_segmenter(name, normalization=None)
        with pytest.raises(ValueError, match=r"expected no other normalization, got .*0.485"):
            load_segmenter(name, normalization=IMAGENET)


def test_descriptions_tell_models_apart():
    torch.manual_seed(1)
    one, other = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
    schedule = [0.9, 0.5]
    models = [
        CallableDiffusion(one, schedule),
        CallableDiffusion(other, schedule),
        CallableDiffusion(one, [0.9, 0.4]),
        CallableDiffusion(one, np.array(schedule), clip_range=1.0),
        CallableDiffusion(one, schedule, prediction_type="sample"),
        CallableDiffusion(torch.tanh, schedule),
        CallableDiffusion(torch.sin, schedule),
        Segmenter(one),
        Segmenter(one, normalization=None),
    ]
    models += [Segmenter(network.forward) for network in (one, other)]
    models += [SimpleNamespace(network=network) for network in (one, other)]
    models += [SimpleNamespace(betas=np.array(betas)) for betas in ([0.1], [0.2])]
    said = [describe_model(model) for model in models]
    assert len(set(said)) == len(models)
    assert said[0] == describe_model(CallableDiffusion(one, np.array(schedule)))
    assert describe_model(None) is None


def test_bundled_models():
    pytest.importorskip("diffusers")
    assert isinstance(load_diffusion("demo"), DiffusersDiffusion)
    guide, oracle = (load_segmenter(spec) for spec in ("demo", "demo-oracle"))
    images = nn.functional.interpolate(IMAGES, (64, 128))
    assert guide(images).shape == oracle(images).shape == (1, 13, 64, 128)
    assert describe_model(guide) != describe_model(oracle)


def test_paths_with_colons_are_paths_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("json:loads").write_bytes(b"not a script")
    with pytest.raises(ValueError, match="expected a TorchScript file"):
        load_segmenter("json:loads")


def test_a_model_with_other_weights(own_module, tmp_path):
    network = nn.Conv2d(3, 13, 1)
    given = load_segmenter("demo").model
    state = {name: value + 1 for name, value in given.state_dict().items()}
    for name, weights in (("own", state), ("other", network.state_dict())):
        (tmp_path / f"{name}.safetensors").write_bytes(save(weights))
    (tmp_path / "none.safetensors").write_bytes(b"no weights")
    loaded = load_segmenter(f"demo@{tmp_path}/own.safetensors").model
    assert all(torch.equal(state[k], v) for k, v in loaded.state_dict().items())
    for name in ("other", "none"):
        with pytest.raises(ValueError, match=f"{name}.safetensors: expected weights of that model"):
            load_segmenter(f"demo@{tmp_path}/{name}.safetensors")
    with pytest.raises(FileNotFoundError):
        load_segmenter(f"demo@{tmp_path}/nowhere.safetensors")
    (tmp_path / "function_models.py").write_text("def make():\n    return abs\n")
    with pytest.raises(TypeError, match="expected a module to load weights into"):
        load_segmenter(f"function_models:make@{tmp_path}/own.safetensors")
