"""The pages of docs/clients: their patches are whole and name what exists, their code runs."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from pages import blocks

import seco
from seco.demo import street_scene

PAGES = sorted((Path(__file__).parents[2] / "docs/clients").glob("*.md"))
MOST_LINES = 15
HUNK = re.compile(r"@@ -\d+,(\d+) \+\d+,(\d+) @@")


def all_blocks(language: str) -> list[object]:
    found = [(page, block) for page in PAGES for block in blocks(page, language)]
    return [pytest.param(block, id=f"{page.stem}-{i}") for i, (page, block) in enumerate(found)]


def changed(patch: str) -> list[str]:
    return [line for line in patch.splitlines() if re.match(r"[+-](?![+-]{2} )", line)]


def calls(patch: str) -> list[ast.Call]:
    """What the lines that a patch adds call."""
    found = []
    added = [line[1:] for line in changed(patch) if line[0] == "+"]
    for match in re.finditer(r"(?<![.\w])seco\.\w+\(", text := "\n".join(added)):
        depth = end = 0
        for end in range(match.end() - 1, len(text)):
            depth += (text[end] == "(") - (text[end] == ")")
            if depth == 0:
                break
        call = ast.parse(text[match.start() : end + 1], mode="eval").body
        assert isinstance(call, ast.Call)
        found.append(call)
    return found


@pytest.mark.parametrize("patch", all_blocks("diff"))
def test_patches_are_short_and_whole(patch):
    assert 0 < len(changed(patch)) <= MOST_LINES
    if not patch.startswith("git apply <<'EOF'\n"):
        return
    assert patch.endswith("EOF\n")
    *heads, tail = re.split(r"(?=^@@)", patch.removesuffix("EOF\n"), flags=re.M)
    for hunk in (*heads[1:], tail):
        first, *lines = re.split(r"^--- a/", hunk, flags=re.M)[0].splitlines()
        before, after = map(int, HUNK.match(first).groups())
        kinds = [line[:1] or " " for line in lines]
        assert before == sum(kind in " -" for kind in kinds)
        assert after == sum(kind in " +" for kind in kinds)


@pytest.mark.parametrize("patch", all_blocks("diff"))
def test_patches_call_what_there_is(patch):
    for name in re.findall(r"(?<![.\w])seco\.(\w+)", patch):
        assert name in seco.__all__
    for call in calls(patch):
        function = getattr(seco, call.func.attr)
        options = {word.arg: None for word in call.keywords if word.arg}
        if any(word.arg is None for word in call.keywords) and not call.args:
            continue  # all that it is called with comes from the config
        inspect.signature(function).bind(*call.args, **options)


LOOPS = ("daformer", "hrda", "mic", "pipa")


def page_of(name: str) -> Path:
    return next(page for page in PAGES if page.stem == name)


def loop_patches() -> list[object]:
    """The patches of loops that train with regions."""
    return [
        pytest.param(name, patch, id=f"{name}-{number}")
        for name in LOOPS
        for number, patch in enumerate(blocks(page_of(name), "diff"))
        if "LoadRegions" in patch
    ]


@pytest.mark.parametrize(("name", "patch"), loop_patches())
def test_a_loop_without_a_word_in_its_configs_asks_for_no_regions(name, patch):
    """In the patched config of the data, and in those that no patch has seen."""
    added = [line[1:].strip() for line in changed(patch) if line[0] == "+"]
    (line,) = (line for line in added if "type='LoadRegions'" in line)
    step = eval(line.rstrip(","), {"data_root": "data/nowhere/"})
    assert step.pop("type") == "LoadRegions"
    results = {"img_info": {"filename": "1.png"}, "seg_fields": ["gt_semantic_seg"]}
    results = seco.LoadRegions(**step)(results)
    assert results["seg_fields"] == ["gt_semantic_seg"]
    collected = ast.literal_eval(re.search(r"'regions', *'regions_table'", patch)[0])
    metas = [{key: results[key] for key in collected}]

    (call,) = (found for found in calls(patch) if found.func.attr == "refine_in_loop")
    (read,) = (line for line in added if line.startswith("self.seco = "))
    label, weight = torch.tensor([[[3, 3, 3, 7]]]), torch.ones(1, 1, 4)
    loop = {
        "target_img": torch.zeros(1, 3, 1, 4),
        "teacher_label": label,
        "pseudo_weight": weight,
        "means": torch.full((1, 3, 1, 1), 100.0),
        "stds": torch.full((1, 3, 1, 1), 50.0),
    }

    def refine(metas, **cfg):
        self = SimpleNamespace(local_iter=0)
        exec(read, {"self": self, "cfg": cfg, "seco": seco})
        code = compile(ast.Expression(call), name, "eval")
        return eval(code, {"seco": seco, "self": self, "target_img_metas": metas, **loop})

    for nothing in (metas, [{}]):
        refined, after = refine(nothing)
        assert refined is label
        assert after is weight
        with pytest.raises(ValueError, match="metas: expected regions"):
            refine(nothing, seco={"enabled": True})
    regions = seco.to_region_map(seco.Regions.from_label_map(torch.ones(1, 4, dtype=torch.long)))
    given = [dict(zip(collected, regions, strict=True))]
    assert refine(given, seco={"enabled": True})[0].tolist() == [[[3, 3, 3, 3]]]


@pytest.mark.parametrize("name", ["daformer", "hrda", "mic"])
def test_the_page_s_word_names_the_folder_of_the_regions(name):
    (patch,) = (patch for patch in blocks(page_of(name), "diff") if "LoadRegions" in patch)
    (script,) = (text for text in blocks(page_of(name), "bash") if "LoadRegions" in text)
    before, after, file = re.search(r'sed -i "s\|(.*)\|(.*)\|" \\\n *(\S+)', script).groups()
    assert f"+++ b/{file}\n" in patch
    (line,) = (line[1:].strip() for line in changed(patch) if "'LoadRegions'" in line)
    assert before in line
    step = eval(line.replace(before, after).rstrip(","), {"data_root": "data/cityscapes/"})
    assert step == {"type": "LoadRegions", "folder": "data/cityscapes/regions/train"}
    (command,) = (text for text in blocks(page_of(name), "bash") if "seco regions" in text)
    assert f" {step['folder']} " in command


def test_a_loop_s_patch_calls_refine_in_loop_once():
    for name in LOOPS:
        page = page_of(name)
        patches = [patch for patch in blocks(page, "diff") if "import seco" in patch]
        assert len(patches) == 2
        for patch in patches:
            assert [call.func.attr for call in calls(patch)].count("refine_in_loop") == 1


def test_unimatch_s_unlabelled_half_is_refined_and_its_loss_takes_it():
    """Refine as the page's function does, with labels that are wrong here and there."""
    (patch,) = (patch for patch in blocks(page_of("unimatch"), "diff") if "refine_in_loop" in patch)
    added = "\n".join(line[1:] for line in changed(patch) if line[0] == "+")
    code = re.search(r"^ +def refine\(.*?^ +return .*?$", added, flags=re.M | re.S)[0]
    scope = {"torch": torch, "seco": seco, "sam": seco.load_sam("tiny")}
    exec(textwrap.dedent(code), scope)

    scenes = [street_scene(seed, size=(64, 128)) for seed in (0, 1)]
    truth = torch.stack([torch.from_numpy(scene.label).long() for scene in scenes])
    pixels = torch.stack([torch.from_numpy(scene.image) for scene in scenes]).permute(0, 3, 1, 2)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    mean, std = (torch.tensor(numbers).view(1, 3, 1, 1) for numbers in (mean, std))
    generator = torch.Generator().manual_seed(0)
    mask = truth.masked_fill(torch.rand(truth.shape, generator=generator) < 0.2, 2)
    conf = torch.rand(truth.shape, generator=generator)
    ignored = torch.zeros_like(mask)
    ignored[:, :4] = 255
    new, sure = scope["refine"]((pixels / 255 - mean) / std, mask, conf, ignored)
    changed_to = new != mask
    assert 0.05 < changed_to.float().mean() < 0.3
    assert (new == truth)[changed_to].float().mean() > 0.6
    assert torch.equal(sure[~changed_to], conf[~changed_to])
    assert not torch.equal(sure[changed_to], conf[changed_to])
    assert 0 < sure[changed_to].min() <= sure.max() <= 1
    assert not changed_to[:, :4].any()

    (criterion,) = re.findall(r"^ +criterion_u = (.*)\.cuda", added, flags=re.M)
    new[0, 0, 0] = 255  # of a corrector
    loss = eval(criterion, {"nn": torch.nn})(torch.zeros(2, 19, 64, 128), new)
    assert loss[0, 0, 0] == 0 < loss[0, 0, 1]


def test_mmsegmentation_s_segmentor_trains_on_refined_labels(monkeypatch):
    (code,) = blocks(page_of("mmsegmentation"), "python")

    class EncoderDecoder:
        def loss(self, inputs, data_samples):
            return [sample.gt_sem_seg.data for sample in data_samples]

    registered = {}

    class Registry:
        def register_module(self, module=None):
            def register(found):
                registered[found.__name__] = found
                return found

            return register(module) if module else register

    for name in ("mmseg", "mmseg.models", "mmseg.registry"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["mmseg.models"].EncoderDecoder = EncoderDecoder
    sys.modules["mmseg.registry"].MODELS = Registry()
    sys.modules["mmseg.registry"].TRANSFORMS = Registry()
    exec(textwrap.dedent(code), {})
    assert registered["LoadRegions"] is seco.LoadRegions

    region_map, table = seco.to_region_map(
        seco.Regions.from_label_map(torch.tensor([[1, 1, 1, 0]]))
    )
    meta = {"regions": region_map, "regions_table": table}
    samples = [
        SimpleNamespace(metainfo=meta, gt_sem_seg=SimpleNamespace(data=torch.tensor([[label]])))
        for label in ([3, 3, 7, 7], [255, 2, 2, 2])
    ]
    first, second = registered["RefinedEncoderDecoder"]().loss(None, samples)
    assert first.tolist() == [[[3, 3, 3, 255]]]
    assert second.tolist() == [[[2, 2, 2, 255]]]
