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


def test_a_loop_s_patch_calls_refine_in_loop_once():
    for name in ("daformer", "hrda", "mic", "pipa"):
        page = next(page for page in PAGES if page.stem == name)
        patches = [patch for patch in blocks(page, "diff") if "import seco" in patch]
        assert len(patches) == 2
        for patch in patches:
            assert [call.func.attr for call in calls(patch)].count("refine_in_loop") == 1


def test_mmsegmentation_s_segmentor_trains_on_refined_labels(monkeypatch):
    (code,) = blocks(next(page for page in PAGES if page.stem == "mmsegmentation"), "python")

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
