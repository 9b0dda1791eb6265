"""Train a segmenter on labelled files: the part to replace with your own trainer."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from seco import LabelSpace
from seco.common.files import write_bytes
from seco.common.tensor_files import pack_tensors
from seco.folder import Inputs
from sgg import FinetuneSettings, FinetuneTask, Segmenter, finetune_segmenter


def finetune(
    segmenter: Segmenter,
    inputs: Inputs,
    weights: Path,
    *,
    space: LabelSpace,
    settings: FinetuneSettings,
    seed: int,
) -> None:
    """Train a segmenter in place and write its weights; where they are there, read them.

    A call that was stopped goes on from the state in the folder ``training`` beside the weights,
    and ends with the same ones.
    """
    model = segmenter.model
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"segmenter: expected a module, got {type(model).__name__}")
    if weights.exists():
        model.load_state_dict(load_file(weights))
        return
    state = weights.parent / "training"
    state.mkdir(parents=True, exist_ok=True)
    task = FinetuneTask(
        stage=1, strength=0.0, inputs=inputs, source=inputs, folder=weights.parent,
        label_space=space, state=state, seed=seed, progress=True,
    )  # fmt: skip
    losses = finetune_segmenter(segmenter, task, settings=settings)
    print(f"loss {losses[0][1]:.3f} in the first step, {losses[-1][1]:.3f} in the last")
    write_bytes(weights, pack_tensors(model.state_dict()))
