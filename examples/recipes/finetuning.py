"""Train a segmenter on labelled files: the part to replace with your own trainer."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file

from seco import LabelSpace
from seco.common.files import write_bytes
from seco.common.tensor_files import pack_tensors
from seco.folder import Inputs
from sgg import FinetuneSettings, FinetuneTask, Segmenter, finetune_segmenter


def add_training_options(
    parser: argparse.ArgumentParser, *, batch: int, steps: str | None = None
) -> None:
    """Options of every recipe that trains, with what is said of the number of steps."""
    parser.add_argument("--crop", type=int, nargs=2, default=(64, 128), metavar=("H", "W"))
    parser.add_argument("--steps", type=int, default=40, help=steps)
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--rate", type=float, default=1e-4)


def settings_of(args: argparse.Namespace) -> FinetuneSettings:
    """What they say, for :func:`finetune`."""
    return FinetuneSettings(
        steps=args.steps, batch_size=args.batch, learning_rate=args.rate,
        crop_height=args.crop[0], crop_width=args.crop[1],
    )  # fmt: skip


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
