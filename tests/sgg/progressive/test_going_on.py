"""Progressive translation: stopped, killed and shared runs end with the files of any other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import progressive_world
import pytest
import torch
from progressive_world import Stopped, results, run, stop_in
from rendezvous import start_together
from safetensors.torch import load_file

# Of processes that import what the tests import.
ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join(map(str, (Path(progressive_world.__file__).parent, Path.cwd()))),
    "OMP_NUM_THREADS": "1",
}


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("sgg.folder.translate.translate", 2),  # within stage 1's translation
        ("sgg.progressive.measures.evaluate_by_several", 1),  # measuring the source
        ("sgg.progressive.measures.evaluate_by_several", 2),
        ("sgg.progressive.training._add_loss", 1),  # before the first writing of the state
        ("sgg.progressive.training._add_loss", 4),  # after it
        ("sgg.progressive.handing_on.evaluate_folder", 1),  # after the training
        ("sgg.progressive.handing_on.write_bytes", 3),  # between two of its files
        ("sgg.folder.translate.translate", 8),  # stage 2
        ("sgg.progressive.training._add_loss", 11),
        ("sgg.progressive.stages._write_numbers", 1),
    ],
)
def test_a_run_that_was_stopped_goes_on(source, tmp_path, monkeypatch, undisturbed, name, call):
    with monkeypatch.context() as patched:
        stop_in(patched, name, call)
        with pytest.raises(Stopped):
            run(source, tmp_path / "out")
    run(source, tmp_path / "out")
    assert results(tmp_path / "out") == undisturbed


def test_what_is_finished_is_not_done_again(source, tmp_path, monkeypatch):
    run(source, tmp_path / "out")
    before = results(tmp_path / "out")
    for name in ("folder.translate.translate", "progressive.training._add_loss",
                 "progressive.measures.evaluate_by_several",
                 "progressive.handing_on.evaluate_folder"):  # fmt: skip
        stop_in(monkeypatch, f"sgg.{name}", 1)
    again = run(source, tmp_path / "out")
    assert results(tmp_path / "out") == before
    assert [len(stage.handed_on.losses) for stage in again.stages] == [6, 6]


def test_training_goes_on_from_its_state(source, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        stop_in(patched, "sgg.progressive.training._add_loss", 6)
        with pytest.raises(Stopped):
            run(source, tmp_path / "out", strengths=(0.4,))
    counted = []
    original = sys.modules["sgg.progressive.training"]._add_loss
    monkeypatch.setattr(
        "sgg.progressive.training._add_loss", lambda *given: counted.append(1) or original(*given)
    )
    run(source, tmp_path / "out", strengths=(0.4,))
    assert len(counted) == 2  # the state was written after steps 2 and 4


def kill(source: Path, out: Path, *, denoiser_at: int = 0, step: int = 0) -> None:
    """Run in a process that is killed within an image or within a step of the training."""
    program = f"""
import os, signal, sys, torch
torch.set_num_threads({torch.get_num_threads()})  # to the byte only with as many
from pathlib import Path
import gaussian_domain as gaussian
import progressive_world as world
from sgg.progressive import training
original, calls = training._add_loss, iter(range(1, 10**6))
def killing(*given):
    if next(calls) == {step}:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*given)
training._add_loss = killing
diffusion = gaussian.target_domain(gaussian.Denoiser(kill_at={denoiser_at} or None))
world.run(Path({str(source)!r}), Path({str(out)!r}), diffusion=diffusion)
"""
    done = subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT, timeout=120)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_kills_lose_nothing_and_change_nothing(source, tmp_path, undisturbed):
    out = tmp_path / "out"
    kill(source, out, step=5)  # stage 1, the state was written at step 4
    kill(source, out, denoiser_at=5)  # stage 2, within the third image
    run(source, out)
    assert results(out) == undisturbed
    assert not list(out.rglob(".*.tmp"))
    assert not list(out.rglob("state-*"))


@pytest.fixture(scope="module")
def together(source, tmp_path_factory):
    """What two processes left behind."""
    folder = tmp_path_factory.mktemp("together")
    program = f"""
from pathlib import Path
import progressive_world
progressive_world.main(Path({str(source)!r}), Path({str(folder)!r}))
"""
    start_together(program, ENVIRONMENT)
    return folder


needs_gloo = pytest.mark.skipif(sys.platform == "win32", reason="needs gloo")


@needs_gloo
def test_two_processes_make_what_one_makes(source, together, tmp_path):
    run(source, tmp_path / "one")
    for stage in (1, 2):
        one, two = (
            load_file(folder / f"stage-{stage}/segmenter/segmenter.safetensors")
            for folder in (tmp_path / "one", together / "plain")
        )
        for name, value in one.items():
            torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-5)
    images = [together / "plain/stage-1/images", tmp_path / "one/stage-1/images"]
    assert results(images[0]) == results(images[1])
    numbers = [
        json.loads((folder / "progressive.json").read_text())
        for folder in (tmp_path / "one", together / "plain")
    ]
    assert numbers[0]["source"] == numbers[1]["source"]
    for one, two in zip(*(said["stages"] for said in numbers), strict=True):
        assert two["losses"] == pytest.approx(one["losses"], rel=1e-3)
        assert two["guide"]["images"] == 5


@needs_gloo
def test_one_process_goes_on_with_what_two_have_begun(source, together):
    before = results(together / "plain")
    run(source, together / "plain")
    assert results(together / "plain") == before


@needs_gloo
def test_processes_end_with_the_same_weights_and_statistics(together):
    for stage in (1, 2):
        one, other = (torch.load(together / f"stage-{stage} of {rank}.pt") for rank in range(2))
        for name, value in one.items():
            assert torch.equal(other[name], value)
        assert not torch.equal(one["norm.running_mean"], torch.zeros(4))
