"""Progressive translation: trainers and segmenters of one's own."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from progressive_world import Colour, Stopped, run, segmenter, to_nan

from sgg import Segmenter
from sgg.progressive import finetune_segmenter
from sgg.progressive.handing_on import describe_finetune


def test_ones_own_trainer(source, tmp_path):
    seen = []

    def own(segmenter, task, *, shift=0.125):
        seen.append((task.stage, task.strength, task.folder.name, len(task.inputs.files)))
        assert task.state.is_dir()
        assert [one.name for one in task.inputs.files] == [one.name for one in task.source.files]
        assert (task.folder / "images/00001.png").is_file()
        with torch.no_grad():
            segmenter.model.look.bias += shift
        return [(10, 0.5)]

    made = run(source, tmp_path / "out", finetune=own)
    assert seen == [(1, 0.4, "stage-1", 5), (2, 0.8, "stage-2", 5)]
    moved = made.segmenter.model.look.bias - segmenter().model.look.bias
    torch.testing.assert_close(moved, torch.full((4,), 0.25))
    assert made.stages[0].handed_on.losses == [(10, 0.5)]
    with pytest.raises(ValueError, match=r"finetune\.options\.shift is 0.5, was 0.125"):
        run(source, tmp_path / "out", finetune=partial(own, shift=0.5))


def test_ones_own_state_is_kept(source, tmp_path):
    def own(segmenter, task):
        kept = task.state / "epochs.txt"
        done = int(kept.read_text()) if kept.exists() else 0
        kept.write_text(str(done + 1))
        if done < 2:
            raise Stopped
        return [(done, 0.0)]

    for _ in range(2):
        with pytest.raises(Stopped):
            run(source, tmp_path / "out", finetune=own, strengths=(0.4,))
    made = run(source, tmp_path / "out", finetune=own, strengths=(0.4,))
    assert made.stages[0].handed_on.losses == [(2, 0.0)]


def test_frozen_weights_stay_frozen_through_all_stages(source, tmp_path):
    given = segmenter()
    given.model.look.bias.requires_grad = False
    made = run(source, tmp_path / "out", seg_model=given)
    assert torch.equal(made.segmenter.model.look.bias, Colour().look.bias)
    assert not torch.equal(made.segmenter.model.look.weight, Colour().look.weight)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_torchscript_segmenter_is_trained_too(source, tmp_path):
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1))
    model[0].load_state_dict(Colour().look.state_dict())
    script = torch.jit.script(model.eval())
    made = run(source, tmp_path / "out", seg_model=Segmenter(script, normalization=None))
    plain = run(source, tmp_path / "plain", seg_model=Segmenter(model, normalization=None))
    for one, other in zip(made.stages, plain.stages, strict=True):
        assert [loss for _, loss in one.handed_on.losses] == pytest.approx(
            [loss for _, loss in other.handed_on.losses], rel=1e-3
        )
    assert torch.equal(script[0].weight, Colour().look.weight)


@pytest.mark.parametrize("given", [None, [1.0], "loss", [("a", "b")]])
def test_losses_of_another_kind_are_refused(source, tmp_path, given):
    with pytest.raises(TypeError, match=r"finetune: expected a list of \(step, loss\) pairs"):
        run(source, tmp_path / "out", finetune=lambda segmenter, task: given)


def test_how_a_trainer_is_told_from_others():
    said = describe_finetune(finetune_segmenter)
    assert said["function"] == "sgg.progressive.training.finetune_segmenter"
    assert said["options"]["settings"]["steps"] == 2000
    weights = describe_finetune(partial(to_nan, task=None))["options"]
    assert weights == {"task": None}
    assert describe_finetune(partial(to_nan, 5)) != describe_finetune(partial(to_nan, 6))
    assert describe_finetune(partial(to_nan, 5)) == describe_finetune(partial(to_nan, 5))


class Trainer:
    def __init__(self, epochs):
        self.epochs = epochs

    def __call__(self, segmenter, task):
        self.epochs += 1  # it may count; what it is told by is from before
        return [(self.epochs, 0.0)]

    def train(self, segmenter, task):
        return self(segmenter, task)


def test_a_trainer_that_is_an_object_is_told_by_what_it_holds(source, tmp_path):
    for said in (describe_finetune(Trainer(3)), describe_finetune(Trainer(3).train)):
        assert said["options"] == {"epochs": 3}
    made = run(source, tmp_path / "out", finetune=Trainer(3))
    assert [stage.handed_on.losses for stage in made.stages] == [[(4, 0.0)], [(5, 0.0)]]
    again = run(source, tmp_path / "out", finetune=Trainer(3))
    assert [stage.handed_on.losses for stage in again.stages] == [[(4, 0.0)], [(5, 0.0)]]
    with pytest.raises(ValueError, match=r"finetune\.options\.epochs is 4, was 3"):
        run(source, tmp_path / "out", finetune=Trainer(4))
