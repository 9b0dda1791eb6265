"""Two processes that fit together make what one makes alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fitting_together import ENCODERS, SETTINGS, Iterable, data, fit
from patches import Colour

from seco import ConnectivityCorrector
from seco.common.parallel import add_up, in_each, in_first, processes_of_group
from seco.common.processes import ALONE
from seco.common.tensor_files import read_tensors
from seco.correction.training import _own

SIZE = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two processes left behind."""
    folder = tmp_path_factory.mktemp("together")
    interrupted = data()

    class Interrupted(list):
        def __getitem__(self, index):
            self.left = getattr(self, "left", 18) - 1
            if self.left == 0:
                raise KeyboardInterrupt
            return super().__getitem__(index)

    with pytest.raises(KeyboardInterrupt):
        fit(None, Interrupted(interrupted), checkpoint=folder / "early.safetensors",
            checkpoint_every=2)  # fmt: skip
    program = Path(sys.modules["fitting_together"].__file__)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    running = [
        subprocess.Popen(
            [sys.executable, str(program), str(folder), str(rank), str(SIZE)],
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
        )
        for rank in range(SIZE)
    ]
    for process in running:
        _, said = process.communicate(timeout=240)
        assert process.returncode == 0, said
    return folder


def load(folder, name, rank, encoder):
    return ConnectivityCorrector.load(folder / f"{name}{rank}", encoder=encoder)


def parts(corrector):
    classifier, record = corrector._fitted
    bank = {"bank": record.bank.features, "bank classes": record.bank.classes}
    return {**classifier.state(), "losses": record.losses, **bank}


CASES = {**ENCODERS, "iterable": Colour, "resumed": ENCODERS["small"]}


@pytest.mark.parametrize("case", CASES)
def test_all_processes_make_the_same_and_what_one_makes_alone(folder, case):
    one, other = (load(folder, case, rank, CASES[case]()) for rank in range(SIZE))
    alone = fit(CASES[case](), Iterable() if case == "iterable" else None)
    for name, value in parts(alone).items():
        assert torch.equal(parts(one)[name], parts(other)[name])
        torch.testing.assert_close(parts(one)[name], value, rtol=1e-3, atol=1e-3)
    assert one.record.noise_model == other.record.noise_model
    assert torch.equal(one.record.classes, alone.record.classes)
    assert torch.equal(one.record.areas, alone.record.areas)
    if case == "trained":
        assert torch.equal(parts(one)["extractor.idle"], torch.ones(3))


def test_a_frozen_encoder_sees_every_image_twice_over_all_processes(folder):
    passes = [json.loads((folder / f"told{rank}.json").read_text())["passes"] for rank in (0, 1)]
    both = [said["frozen"] for said in passes]
    assert min(both) > 0
    assert sum(both) <= 2 * len(data()) + 1  # one to begin with


@pytest.fixture
def one_thread():
    """As each of the processes has: how sums of floats are split decides their last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_one_may_fit_alone(folder):
    alone = fit(Colour(), data(1))
    for rank in range(SIZE):
        for name, value in parts(load(folder, "alone", rank, Colour())).items():
            assert torch.equal(value, parts(alone)[name])


def test_errors_reach_all(folder):
    said = [json.loads((folder / f"told{rank}.json").read_text())["errors"] for rank in (0, 1)]
    assert said[1]["bad sample"].startswith("ValueError: samples[3]: pl: expected shape")
    assert said[0]["bad sample"].startswith("RuntimeError: process 1: ValueError('samples[3]")
    for rank in (0, 1):
        assert said[rank]["seeds"].startswith("ValueError: seed: expected the same in all")
    assert said[0]["checkpoint"].startswith("ValueError: checkpoint: expected the state of this")
    assert said[1]["checkpoint"].startswith("RuntimeError: process 0: ValueError(")


def test_the_first_process_writes_the_checkpoint(folder):
    _, header = read_tensors(folder / "early.safetensors", "seco training state", 2)
    assert header["step"] == SETTINGS.iterations


def test_without_a_group_a_process_is_alone():
    assert processes_of_group() == ALONE
    total = torch.ones(2)
    add_up(ALONE, [total])
    assert total.tolist() == [1, 1]
    for run in (in_each, in_first):
        with pytest.raises(KeyError, match="as it is"):
            run(ALONE, lambda: {}["as it is"])
    assert _own([1, 2, 3], ALONE, by_sample=False) == [1, 2, 3]
