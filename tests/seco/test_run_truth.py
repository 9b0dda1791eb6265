"""``seco run``: which truth belongs to which image."""

from __future__ import annotations

import numpy as np
import pytest
from commands import run
from PIL import Image

import seco.folder.chain
import seco.report.chain
from seco.common.inputs import Inputs
from seco.folder.chain import Chained


class Reached(Exception):
    pass


@pytest.fixture
def truths_of(monkeypatch):
    """Call ``seco run`` without the work; what it takes for the truth of what."""

    def stop(reader, **options):
        raise Reached(dict(reader.truths))

    nothing = Chained(Inputs(()), Inputs(()), (), {}, 0)
    monkeypatch.setattr(seco.folder.chain, "run_chain", lambda *args, **options: nothing)
    monkeypatch.setattr(seco.report.chain, "write_chain_report", stop)

    def call(*arguments):
        try:
            return run("run", *arguments, "--device", "cpu")
        except Reached as reached:
            return reached.args[0]

    return call


def write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(path)
    return path


def test_truth_goes_with_the_images_of_a_list(tmp_path, truths_of):
    """The list's folder holds everything, so that many of its files are called the same."""
    for place in ("leftImg8bit/train/a", "leftImg8bit/other/a", "pseudo/a", "truth/a"):
        for name in ("one", "two", "three"):
            write(tmp_path / place / f"{name}.png")
    (tmp_path / "list.txt").write_text(
        "leftImg8bit/train/a/one.png pseudo/a/one.png\n"
        "leftImg8bit/train/a/two.png pseudo/a/two.png\n"
    )
    arguments = (tmp_path, tmp_path, "/nowhere/out", "--list", tmp_path / "list.txt")
    truth = ("--truth", tmp_path / "truth")
    found = truths_of(*arguments, *truth, "--match", "name")
    images = tmp_path / "leftImg8bit/train/a"
    assert found == {
        images / f"{name}.png": tmp_path / "truth/a" / f"{name}.png" for name in ("one", "two")
    }
    # By their paths they do not fit, which is told before the work.
    result = truths_of(*arguments, *truth)
    assert result.exit_code == 2
    assert "with the same names" in result.stderr
    result = truths_of(*arguments, "--match", "name")
    assert result.exit_code == 2
    assert "--list says which files belong together" in result.stderr


def test_truth_goes_with_a_folders_images(tmp_path, truths_of):
    for kind in ("images", "labels"):
        for name in ("a/one", "a/two"):
            write(tmp_path / kind / f"{name}.png")
    truth = write(tmp_path / "truth/a/two.png")
    folders = (tmp_path / "images", tmp_path / "labels", tmp_path / "out")
    found = truths_of(*folders, "--truth", tmp_path / "truth")
    assert found == {tmp_path / "images/a/two.png": truth}
