"""Progressive translation: trainings that diverge or collapse."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from functools import partial

import pytest
import torch
from progressive_world import PLAIN, run, to_nan, to_one_class

from sgg.progressive import FinetuningDiverged, finetune_segmenter


def to_nan_in_stage_2(segmenter, task):
    return [(1, 0.5), (2, 0.25 if task.stage == 1 else torch.nan)]


DIVERGING = replace(PLAIN, optimizer="sgd", learning_rate=1e30)


def overflowing(segmenter, task):
    raise FloatingPointError("too much")


@pytest.mark.parametrize(
    ("finetune", "stage", "said"),
    [
        (to_nan, 1, "look.weight of the segmenter is not finite; the segmenter that was given"),
        (to_nan_in_stage_2, 2, "the loss is nan at step 2; the last good segmenter, of stage 1"),
        (to_one_class, 2, "consistency on the set that it learnt from fell to"),
        (overflowing, 1, "too much"),
        (partial(finetune_segmenter, settings=DIVERGING), 1, r"the loss is (nan|inf) at step \d"),
    ],
)  # fmt: skip
def test_a_diverged_training_stops_with_its_stage(source, tmp_path, finetune, stage, said):
    out = tmp_path / "out"
    for _ in range(2):  # and again when it is tried again
        with pytest.raises(FinetuningDiverged, match=f"stage {stage}: .*diverged: {said}") as error:
            run(source, out, finetune=finetune)
        assert error.value.stage == stage
        made = error.value.progression
        assert len(made.good) == stage - 1
        if stage == 2:
            kept = out / "stage-1/segmenter/segmenter.safetensors"
            assert made.weights == kept
            assert str(kept) in str(error.value)
            assert kept.is_file()
        numbers = json.loads((out / "progressive.json").read_text())
        assert f"stage {stage}: fine-tuning diverged" in numbers["stopped"]
        assert [one["segmenter"] is not None for one in numbers["stages"]] == [True] * (
            stage - 1
        ) + [False]


def test_a_divergence_is_told_to_other_processes(source, tmp_path):
    with pytest.raises(FinetuningDiverged) as error:
        run(source, tmp_path / "out", finetune=to_nan_in_stage_2)
    received = pickle.loads(pickle.dumps(error.value))
    assert (str(received), received.stage) == (str(error.value), 2)
    assert received.progression.as_json() == error.value.progression.as_json()
    assert received.progression.weights == error.value.progression.weights


def test_what_counts_as_collapse_can_be_changed(source, tmp_path):
    with pytest.raises(FinetuningDiverged):
        run(source, tmp_path / "out", finetune=to_one_class)
    made = run(source, tmp_path / "out", finetune=to_one_class, collapse=0.0)
    assert len(made.good) == 2
