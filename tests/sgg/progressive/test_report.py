"""The page says what was found, needs nothing else, and escapes what it did not write."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from progressive_world import SPACE, run, segmenter, write_source

from seco.common.pages.text import percent
from sgg.progressive import FinetuningDiverged, write_report
from sgg.progressive.figures import (
    consistency_figure,
    distance_figure,
    loss_figure,
    relative_distances,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def made(folder):
    root = write_source(folder / "game")
    for number in (2, 3):
        (root / f"images/0000{number}.png").rename(root / f"images/<u>{number}.png")
        (root / f"labels/0000{number}.png").rename(root / f"labels/<u>{number}.png")
    (root / "images/00001.png").write_bytes(b"no image")
    (folder / "target").mkdir()
    rng = np.random.default_rng(0)
    for number in range(2):
        image = rng.normal(165, 50, (12, 20, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / f"target/{number}.png")
    return run(root, folder / "out", target=folder / "target", oracle=segmenter())


def page_of(progression, **options) -> str:
    return write_report(progression, SPACE, **options).read_text()


class Checker(HTMLParser):
    """Tags that are closed, and every address in them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.addresses, self.tags = [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_it_needs_nothing_else(made):
    found = Checker(page_of(made))
    assert "script" not in found.tags
    assert "link" not in found.tags
    assert all(re.match(r"#|data:image/(png|jpeg);base64,", one) for one in found.addresses)


def test_it_says_what_was_measured(made):
    page = page_of(made)
    assert "4 images, 2 stages" in page.replace("\n", " ")
    for stage in made.stages:
        assert percent(stage.measures.consistency) in page
        assert percent(stage.measures.oracle["mean_iou"]) in page
        assert percent(stage.handed_on.consistency) in page
        for name in SPACE.names:
            assert percent(stage.measures.oracle["iou"][name]) in page
    assert "00001</td>" in page
    assert "expected a readable image" in page
    assert 'translation.num_inference_steps</td><td class="text">2' in page
    assert "Stopped:" not in page


def test_strips_show_source_stages_and_label(made):
    page = page_of(made, shown=3)
    strips = re.findall(r'<div class="exhibit">.*?</div></div>', page, re.DOTALL)
    assert len(strips) == 3
    for strip in strips:
        assert re.findall(r"<figcaption><b>(.*?)</b>", strip) == [
            "source", "stage 1, 0.4", "stage 2, 0.8", "label"
        ]  # fmt: skip
    assert 'exhibit"' not in page_of(made, shown=0)


def test_names_are_escaped(made):
    page = page_of(made)
    assert "<u>" not in page
    assert "&lt;u&gt;2" in page


def test_the_same_run_gives_the_same_page(made):
    assert page_of(made) == page_of(made)


def test_a_stopped_run_says_so_and_marks_the_stage(made):
    stages = (made.stages[0], replace(made.stages[1], handed_on=None))
    page = page_of(replace(made, stages=stages, stopped="stage 2 <is> left out"))
    assert "stage 2 &lt;is&gt; left out" in page
    assert page.count('<figure class="left-out">') == 4
    assert '<b>stage 2</b> <span class="bad">left out' in page
    none = replace(made, stages=(replace(made.stages[0], handed_on=None),))
    assert "No stage has told losses" in page_of(none)


def test_without_target_and_oracle(folder, tmp_path):
    plain = run(folder / "game", tmp_path / "out", strengths=(0.4,))
    page = page_of(plain)
    assert "the oracle</th>" not in page
    assert "distance,<br>" not in page
    assert "none was given" in page


def test_a_diverged_run_has_a_page(folder, tmp_path):
    def bad(segmenter, task):
        return [(1, float("inf"))]

    with pytest.raises(FinetuningDiverged) as error:
        run(folder / "game", tmp_path / "out", finetune=bad)
    assert "fine-tuning diverged: the loss is inf" in page_of(error.value.progression)


def test_figures_show_the_numbers(made):
    (axes,) = consistency_figure(made).axes
    lines = {line.get_label(): line.get_xydata().T.tolist() for line in axes.lines}
    guide = [100 * one.consistency for one in (made.source, *(s.measures for s in made.stages))]
    assert lines["segmenter that guided"] == [[0, 0.4, 0.8], guide]
    after = [100 * stage.handed_on.consistency for stage in made.stages]
    assert lines["the same, fine-tuned on it"] == [[0.4, 0.8], after]
    assert len(lines["oracle"][0]) == 3
    (axes,) = distance_figure(made).axes
    assert [line.get_ydata()[0] for line in axes.lines] == [100, 100]
    last = made.stages[1].measures.distance["colour"] / made.source.distance["colour"]
    assert relative_distances(made)["colour"][2] == pytest.approx(100 * last)


def test_long_loss_curves_are_thinned_by_means():
    pairs = [(step, float(step)) for step in range(1, 1001)]
    (axes,) = loss_figure({"stage 1": pairs, "stage 2": [(1, 2.0)]}).axes
    long, short = (line.get_xydata() for line in axes.lines)
    assert len(long) == 250
    assert long[0].tolist() == [2.5, 2.5]
    assert short.tolist() == [[1.0, 2.0]]
