from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from seco import Connectivities, FitRecord, LabelSpace
from seco.common.pages.text import percent
from seco.correction.decision import CORRECT, DROP, KEEP, Decisions
from seco.correction.judging import Judgement
from seco.correction.mixture import fit_noise_model
from seco.evaluation import recognition, repair
from seco.plots import loss_figure
from seco.report import (
    ImageSteps,
    LabelChanges,
    Report,
    Setting,
    render_report,
    summarise,
    write_report,
)

SPACE = LabelSpace(names=("road", "sky & <cloud>", "car"), things=("car",))
IGNORE = 255
VOID = {"meta", "link", "img", "br", "hr", "input"}
HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "a b & 'c' <d>",
    "{{ report.title }} {% raw %}",
    "javascript:alert(1)",
    "zażółć/画像 01.png",
]


class Page(HTMLParser):
    """The page's elements; raises unless they are properly nested."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.links, self.texts, self.alts = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            assert not name.startswith("on")
            if name in ("src", "href", "xlink:href", "srcset", "action", "poster", "background"):
                self.links.append(value)
            if name == "alt":
                self.alts.append(value)
            if name == "style":
                assert "url(" not in value
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def judged(ids, actions, classes, after, losses):
    actions, classes, after = map(torch.tensor, (actions, classes, after))
    losses = torch.tensor(losses)
    decisions = Decisions(actions, after, torch.ones(len(classes)))
    known = Connectivities(torch.from_numpy(ids), classes, torch.ones(len(classes)))
    return Judgement(known, losses, losses / 4, after, torch.ones(len(classes)), decisions)


def an_image(name="image", *, truth=True, judge=True, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (16, 24, 3), dtype=np.uint8)
    ids = np.kron(np.arange(6).reshape(2, 3), np.ones((8, 8), int)).astype(np.int32)
    classes, actions, after = [0, 1, 2, 0, 1], [KEEP, CORRECT, DROP, KEEP, KEEP], [0, 2, 2, 0, 1]
    raw = rng.choice([0, 1, 2, IGNORE], ids.shape)
    before, painted = np.array([IGNORE, *classes])[ids], np.array([0, 0, 2, IGNORE, 0, 1])[ids]
    real = np.array([0, 0, 2, 1, 0, 1])[ids]
    item = judged(ids, actions, classes, after, [0.1, 3.0, 2.5, 0.2, 0.1])
    return ImageSteps(
        name,
        {"raw": raw, "PSA": before, "SCC": painted},
        lambda: image,
        real if truth else None,
        (3, 1, 1) if judge else None,
        (lambda: item) if judge else None,
    )


def a_fit(losses, **options):
    losses = np.asarray(losses, np.float32)
    count = len(losses)
    model = fit_noise_model(losses, np.zeros(count, int), np.ones(count), **options)
    zeros = torch.zeros(count, dtype=torch.int64)
    return FitRecord(100, torch.from_numpy(losses), zeros, zeros + 1, model)


def two_kinds():
    rng = np.random.default_rng(0)
    return np.abs(np.concatenate([rng.normal(0.2, 0.05, 80), rng.normal(3, 0.3, 20)]))


def a_report(images, *, title="Streets", space=SPACE, **options):
    summary = LabelChanges.pool((summarise(item, space) for item in images), space)
    return Report(title, summary, images, **options)


def test_a_full_page_says_what_was_measured():
    report = a_report([an_image(seed=k) for k in range(3)], fit=a_fit(two_kinds()))
    summary, page = report.summary, Page(render_report(report))
    for name, quality in summary.quality.items():
        shown = [
            quality.confusion.mean_iou,
            quality.confusion.labelled.mean_iou,
            quality.confusion.accuracy,
            quality.confusion.coverage,
            quality.boundary.mean_iou,
        ]
        row = re.search(rf" {name} ((?:\d+\.\d %[ +−\d.]*){{5}})", page.text)[1]
        assert re.findall(r"\d+\.\d %", row) == [percent(value) for value in shown]
    for by_area, column in ((False, 0), (True, 1)):
        found = recognition(summary.connectivities, by_area=by_area)
        row = re.search(r"AUROC of the loss ([\d.]+) ([\d.]+)", page.text)
        assert row[column + 1] == f"{found.auroc_of_loss:.3f}"
        row = re.search(r"AUROC of the noise probability ([\d.]+) ([\d.]+)", page.text)
        assert row[column + 1] == f"{found.auroc_of_noise_probability:.3f}"
        outcome = repair(summary.connectivities, by_area=by_area)
        row = re.search(r"given the right class ([\d.]+ %) ([\d.]+ %)", page.text)
        assert row[column + 1] == percent(outcome.noisy_corrected)
    assert re.search(r"kept 9 60\.0 % \d+\.\d % corrected 3 20\.0 % \d+\.\d % dropped 3", page.text)
    # Image, raw, PSA, decisions, SCC and truth of three images, and two histograms.
    assert page.tags.count("img") == 3 * 6 + 2


def test_the_page_needs_nothing_else():
    page = Page(render_report(a_report([an_image()], fit=a_fit(two_kinds()))))
    assert not {"script", "link", "iframe", "object", "embed", "form", "base"} & set(page.tags)
    assert page.links
    assert all(link.startswith(("data:image/", "#")) for link in page.links)


@pytest.mark.parametrize("name", HOSTILE)
def test_names_cannot_break_out(name):
    plain = Page(render_report(a_report([an_image("plain")], failures=[("plain", "plain")])))
    report = a_report(
        [an_image(name)],
        title=name,
        space=LabelSpace(names=(name, "sky", "car")),
        settings={name: [Setting(name, name, name + "!")]},
        facts={name: name},
        failures=[(name, name)],
    )
    text = render_report(report)
    page = Page(text)
    assert f"SCC of {name}" in page.alts
    assert page.texts.count(name) >= 6
    for tag in ("script", "img", "b"):
        assert page.tags.count(tag) == plain.tags.count(tag) + (tag == "b")  # the changed value
    # In the page as text, nothing of it is left that could be markup.
    if "<" in name:
        assert name not in text


def test_a_name_that_is_not_unicode(tmp_path):
    write_report(tmp_path / "report.html", a_report([an_image("bad \udcff name")]))
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "bad ? name" in text
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_changed_settings_come_first_and_bold():
    settings = [Setting("a", 1, 1), Setting("b", 0.2, 0.1), Setting("c", None, None)]
    text = render_report(a_report([an_image()], settings={"PSA": settings}))
    part = text[text.index(">Settings</h2>") :]
    assert re.search(r">b</td>.*>a</td>.*>c</td>", part, re.DOTALL)
    assert "<b>0.2</b>" in part
    assert part.count("<b>") == 1


def test_failures_are_told_at_the_top_and_listed():
    failures = [(f"file {index}", "truncated") for index in range(230)]
    text = Page(render_report(a_report([an_image()], failures=failures))).text
    assert "230 files could not be used" in text[:300]
    assert "file 199 truncated" in text
    assert "file 200" not in text
    assert "and 30 others." in text


@pytest.mark.parametrize(
    "images",
    [
        [],
        [an_image(truth=False)],
        [an_image(judge=False)],
        [an_image(truth=False, judge=False)],
        [an_image(truth=False), an_image("with")],
    ],
    ids=["none", "no truth", "no judgement", "neither", "some truth"],
)
def test_what_is_not_known_is_left_out(images):
    page = Page(render_report(a_report(images)))
    assert "nan" not in page.text.lower()
    known = [item for item in images if item.truth is not None]
    assert ("Quality, step by step" in page.text) == bool(known)
    assert ("Recognition" in page.text) == any(item.judgement is not None for item in known)
    assert "Which regions are noise" not in page.text
    fitted = Page(render_report(a_report(images, fit=a_fit(two_kinds()))))
    assert "Which regions are noise" in fitted.text
    judged = any(item.judgement is not None for item in known)
    assert ("by whether the class is right" in fitted.text) == judged


@pytest.mark.parametrize("value", [0, IGNORE])
def test_one_class_alone_or_none(value):
    label = np.full((8, 8), value)
    nothing = judged(np.zeros((8, 8), np.int32), [], [], [], [])
    nothing = Judgement(
        Connectivities(nothing.connectivities.ids, *(torch.zeros(0, dtype=torch.int64),) * 2),
        *(torch.zeros(0),) * 2, torch.zeros(0, dtype=torch.int64), torch.zeros(0),
        Decisions(*(torch.zeros(0, dtype=torch.int64),) * 3),
    )  # fmt: skip
    image = np.zeros((8, 8, 3), np.uint8)
    for truth in (np.zeros((8, 8), int), np.full((8, 8), IGNORE), np.full((8, 8), 99)):
        steps = ImageSteps(
            "x", {"raw": label, "SCC": label}, lambda: image, truth, (0, 0, 0), lambda: nothing
        )
        page = Page(render_report(a_report([steps])))
        assert "nan" not in page.text.lower()
        assert "0.0 % of the pixels changed" in page.text


def test_it_is_told_how_many_regions_are_taken_for_noise():
    text = Page(render_report(a_report([], fit=a_fit(two_kinds())))).text
    assert "Of the 100 regions that the Gaussians were fitted to, 20 were taken for noise." in text
    assert "at most a given share" not in text
    assert "of their own" not in text
    limited = a_fit(two_kinds(), max_noise_share=0.1, mixture="per_class")
    text = Page(render_report(a_report([], fit=limited))).text
    assert "10 were taken for noise." in text
    assert "at most a given share" in text
    assert "1 class has Gaussians of their own" in text
    # 20 of 100 are noise: a limit of half of them changes nothing.
    unlimited = a_fit(two_kinds(), max_noise_share=0.5)
    assert unlimited.noise_model.floors
    text = Page(render_report(a_report([], fit=unlimited))).text
    assert "at most a given share" not in text


def test_the_histogram_is_told_whether_noise_begins_elsewhere_in_some_classes(monkeypatch):
    said = []

    def figure(*args, differs, **options):
        said.append(differs)
        return loss_figure(*args, differs=differs, **options)

    monkeypatch.setattr("seco.report.page.loss_figure", figure)
    for options in ({"max_noise_share": 0.1}, {"max_noise_share": 0.5}, {"mixture": "per_class"}):
        render_report(a_report([], fit=a_fit(two_kinds(), **options)))
    assert said == [True, False, True]


def test_it_is_told_that_nothing_was_taken_for_noise():
    with pytest.warns(UserWarning, match="do not support two components"):
        fit = a_fit([0.5, 0.5, 0.5])
    text = Page(render_report(a_report([an_image()], fit=fit))).text
    assert "Nothing was taken for noise" in text


def test_a_page_of_large_images_stays_small(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (300, 400, 3), dtype=np.uint8)  # the hardest to compress

    def image():
        return np.tile(noise, (3, 4, 1))

    label = np.tile(rng.integers(0, 3, (300, 400)), (3, 4))
    images = [ImageSteps(name, {"raw": label, "PSA": label, "SCC": label}, image) for name in "ab"]
    write_report(tmp_path / "r.html", a_report(images))
    assert (tmp_path / "r.html").stat().st_size < 2e6


def test_the_same_report_gives_the_same_page():
    pages = {
        render_report(a_report([an_image(seed=k) for k in range(2)], fit=a_fit(two_kinds())))
        for _ in range(2)
    }
    assert len(pages) == 1
