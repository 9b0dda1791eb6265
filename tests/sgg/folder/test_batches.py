"""Images of a folder translated together: the same set, whatever is done, broken or too large."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from gaussian_domain import SCHEDULE, Denoiser
from hypothesis import given, settings
from hypothesis import strategies as st
from outcomes import statuses
from small_gta import SEGMENTER, SIZE, Source, content

from seco.common.jobs import JobOptions
from sgg import CallableDiffusion, Segmenter
from sgg.folder.batches import Batches, Given, as_batch, of_batch


@pytest.fixture
def source(tmp_path):
    return Source(tmp_path / "gta")


class Sizes:
    """The Gaussian domain, which remembers how many images it was asked about."""

    def __init__(self, broken: object = None) -> None:
        self.seen: list[int] = []
        self.broken, self.denoiser = broken, Denoiser()

    def __call__(self, x_t: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(x_t))
        if callable(self.broken):
            self.broken(x_t)
        return self.denoiser(x_t, steps)

    def model(self) -> CallableDiffusion:
        return CallableDiffusion(self, SCHEDULE, prediction_type="sample")

    def batches(self, steps: int = 3) -> list[int]:
        assert all(len(set(self.seen[k : k + steps])) == 1 for k in range(0, len(self.seen), steps))
        return self.seen[::steps]


@pytest.mark.parametrize(("size", "batches"), [(1, [1] * 6), (4, [4, 2]), (6, [6]), (9, [6])])
def test_the_set_is_the_same(source, tmp_path, size, batches):
    source.translate(tmp_path / "alone")
    domain = Sizes()
    made = source.translate(tmp_path / "out", diffusion=domain.model(), images_per_batch=size)
    assert domain.batches() == batches
    assert statuses(made.summary) == {"written": 6}
    assert content(tmp_path / "out/images") == content(tmp_path / "alone/images")


def test_images_with_few_classes_and_with_many_fill_the_segmenters_batches(source, tmp_path):
    copies = []

    def segment(x):
        if torch.is_grad_enabled():
            copies.append(len(x))
        return SEGMENTER.model(x)

    for number, ids in enumerate(((0,), (0, 1, 2, 3), (1, 2), (0, 1, 2)), start=1):
        label = np.resize(ids, SIZE).astype(np.uint8)
        source.write_label(f"{number:05}", label)
    for number in (5, 6):
        (source.root / f"images/{number:05}.png").unlink()
    source.translate(
        tmp_path / "out", seg_model=Segmenter(segment, normalization=None), images_per_batch=4
    )
    # Three steps to go and one: the whole images; two: 10 copies, of which at most 8 at once.
    assert copies == [4, 8, 2, 4]


def test_what_is_finished_is_not_made_again(source, tmp_path):
    source.translate(tmp_path / "out", diffusion=Sizes().model())
    (tmp_path / "out/images/00002.png").unlink()
    (tmp_path / "out/images/00005.png").unlink()
    domain = Sizes()
    made = source.translate(tmp_path / "out", diffusion=domain.model(), images_per_batch=5)
    assert statuses(made.summary) == {"written": 2, "skipped": 4}
    assert domain.batches() == [2]
    source.translate(tmp_path / "alone")
    assert content(tmp_path / "out/images") == content(tmp_path / "alone/images")


def test_images_of_one_size_go_together(source, tmp_path):
    rng = np.random.default_rng(0)
    for number in (2, 3):
        size = (8, 16)
        source.write_image(f"{number:05}", rng.integers(0, 256, (*size, 3)).astype(np.uint8))
        source.write_label(f"{number:05}", rng.integers(0, 3, size).astype(np.uint8))
    domain = Sizes()
    made = source.translate(tmp_path / "out", diffusion=domain.model(), images_per_batch=3)
    assert statuses(made.summary) == {"written": 6}
    assert domain.batches() == [1, 2, 3]
    source.translate(tmp_path / "alone")
    assert content(tmp_path / "out/images") == content(tmp_path / "alone/images")


def test_of_a_batch_only_what_is_to_blame_fails(source, tmp_path):
    (source.root / "images/00002.png").write_bytes(b"no picture")
    source.write_label("00003", np.full(SIZE, 77, np.uint8))
    source.write_image("00005", np.full((*SIZE, 3), 255, np.uint8))

    def diverge(x_t):
        if (x_t.flatten(1).mean(1) > 0.6).any():
            raise FloatingPointError("diverged")

    domain = Sizes(diverge)
    made = source.translate(tmp_path / "out", diffusion=domain.model(), images_per_batch=6)
    assert {one.name: one.status for one in made.summary.outcomes} == {
        "00001": "written", "00002": "failed", "00003": "failed",
        "00004": "written", "00005": "failed", "00006": "written",
    }  # fmt: skip
    reasons = {one.name: one.reason for one in made.summary.of("failed")}
    assert domain.seen == [4, *[1] * 10]  # together is tried once
    assert "diverged" in reasons["00005"]
    assert "77" in reasons["00003"]


def test_of_too_many_for_the_memory_fewer_are_made_together_which_is_said(source, tmp_path):
    def too_large(x_t):
        if len(x_t) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    domain = Sizes(too_large)
    with pytest.warns(UserWarning, match="4 images together are too many .* at most 2"):
        made = source.translate(tmp_path / "out", diffusion=domain.model(), images_per_batch=4)
    assert statuses(made.summary) == {"written": 6}
    assert domain.seen == [4, *[1] * 12, 2, 2, 2]
    source.translate(tmp_path / "alone")
    assert content(tmp_path / "out/images") == content(tmp_path / "alone/images")


def test_a_bug_stays_one(source, tmp_path):
    def broken(x_t):
        raise RuntimeError("no such kernel")

    with pytest.raises(RuntimeError, match="no such kernel"):
        source.translate(tmp_path / "out", diffusion=Sizes(broken).model(), images_per_batch=6)


def test_no_batch_of_nothing(source, tmp_path):
    with pytest.raises(ValueError, match="images_per_batch: expected an integer >= 1"):
        source.translate(tmp_path / "out", images_per_batch=0)
    assert not (tmp_path / "out").exists()


class Item:
    inputs = outputs = ()

    def __init__(self, name: int) -> None:
        self.name = str(name)


@settings(max_examples=50)
@given(
    shapes=st.lists(st.sampled_from([4, 5]), max_size=9),
    size=st.integers(1, 5),
    changing=st.sets(st.integers(0, 8)),
    data=st.data(),
)
def test_every_item_gets_its_own_image_of_its_last_reading(shapes, size, changing, data):
    """Also where a file changes between the reading for another's batch and its own."""
    readings = dict.fromkeys(range(len(shapes)), 0)
    sizes = []

    def read(item):
        number = int(item.name)
        readings[number] += number in changing
        value = 10 * number + readings[number]
        return Given(
            np.full((shapes[number], 4, 3), value, np.uint8), np.zeros((4, 4), np.uint8), b""
        )

    def translate(given):
        sizes.append(len(given))
        assert len({one.image.shape for _, one in given}) == 1
        images, _ = as_batch([one for _, one in given])
        return of_batch(images + 1)

    items = [Item(number) for number in range(len(shapes))]
    batches = Batches(items, size, read, translate)
    ahead = data.draw(st.integers(1, 4))
    given = {}
    for number, item in enumerate(items):
        for upcoming in items[number : number + ahead]:
            if upcoming.name not in given:
                given[upcoming.name] = batches.read(upcoming)
        image, _ = batches.work(item, given[item.name])
        np.testing.assert_array_equal(image, given[item.name].image + 1)
    assert max(sizes, default=0) <= size
    if not changing:
        assert sum(sizes) == len(items)


def test_a_job_reads_as_many_images_ahead_as_are_translated_together():
    for size, ahead in ((1, 4), (4, 4), (9, 9)):
        batches = Batches([], size, lambda item: None, lambda given: [])
        assert batches.told(JobOptions()).ahead == ahead


def test_the_set_says_how_long_models_computed(source, tmp_path):
    source.translate(tmp_path / "out")
    times = json.loads((tmp_path / "out/summary.json").read_bytes())["times"]
    assert 0 < times["models"] <= 1
