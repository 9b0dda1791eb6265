"""Run some training steps of DAFormer, HRDA or MIC on the CPU, small, to check a patch.

    cd DAFormer
    python ../seco-sgg/examples/clients/uda_steps.py configs/daformer/gta2cs*.py

builds model, data and optimizer from the repository's own code and config (MiT-B0 without
pretrained weights, small crops) and prints the losses of every step, a hash of the weights and the
next random numbers at the end, and the CPU time that seco took. If these are the same before a
patch and after it, with seco off, it changed nothing. ``--as-configured`` leaves sizes and network
as they are.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import logging
import random
import resource
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from typing import Any

import numpy as np
import torch

CONFIDENT = 0.06  # nothing is sure after no training; at this threshold pixels have weight


def shrink(config: Any, crop: int) -> None:
    """Make a config small: a tiny network, crops of that side, images at half the scale."""
    config.model.backbone.type = "mit_b0"
    config.model.decode_head.in_channels = [32, 64, 160, 256]
    for data in (config.data.train.source, config.data.train.target):
        for step in data.pipeline:
            if step["type"] == "Resize":
                step["img_scale"] = tuple(side // 2 for side in step["img_scale"])
            if step["type"] in ("RandomCrop", "Pad"):
                step["crop_size" if "crop_size" in step else "size"] = (crop, crop)
    margins = ("pseudo_weight_ignore_top", "pseudo_weight_ignore_bottom")
    config.uda.update({name: config.uda[name] * crop // 512 for name in margins})
    if config.model.get("hr_crop_size"):  # HRDA, MIC
        half = [crop // 2, crop // 2]
        config.model.hr_crop_size = half
        config.model.test_cfg.update(stride=half, crop_size=[crop, crop])
    if "mask_generator" in config.uda:  # MIC
        config.uda.mask_generator.mask_block_size = crop // 16


def options_of(pairs: list[str]) -> dict[str, Any]:
    """``a.b=1`` as {"a.b": 1}; what is no Python literal stays text."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        try:
            found[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[name] = value
    return found


def measure(owner: Any, name: str, seconds: dict[str, float]) -> None:
    """Add the CPU time of every call of ``owner.name`` to ``seconds[name]``."""
    function = getattr(owner, name)

    def timed(*arguments: Any, **options: Any) -> Any:
        begin = time.process_time()
        result = function(*arguments, **options)
        seconds[name] += time.process_time() - begin
        return result

    setattr(owner, name, timed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--as-configured", action="store_true")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="of the config")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.INFO)
    torch.set_num_threads(options.threads)
    sys.path.insert(0, ".")

    from mmcv.parallel import MMDataParallel
    from mmcv.runner import build_optimizer
    from mmcv.utils import Config
    from mmseg.apis import set_random_seed
    from mmseg.datasets import build_dataloader, build_dataset
    from mmseg.models.builder import build_train_model

    import seco

    config = Config.fromfile(options.config)
    config.model.pretrained = None
    config.uda.update(pseudo_threshold=CONFIDENT, debug_img_interval=10**9)
    if not options.as_configured:
        shrink(config, options.crop)
    config.merge_from_dict(options_of(options.set))
    config.log_config.img_interval = 10**9
    config.model.train_cfg.update(work_dir=tempfile.mkdtemp(), log_config=config.log_config)
    set_random_seed(options.seed)
    model = build_train_model(config, config.get("train_cfg"), config.get("test_cfg"))
    model.init_weights()
    loader = build_dataloader(
        build_dataset(config.data.train), 2, 0, 1, dist=False, seed=options.seed, drop_last=True,
        persistent_workers=False,
    )  # fmt: skip
    model = MMDataParallel(model.train(), device_ids=[])
    optimizer = build_optimizer(model, config.optimizer)

    seconds: dict[str, float] = defaultdict(float)
    for name in ("refine_in_loop", "regions_of"):
        measure(seco, name, seconds)
    measure(model, "train_step", seconds)
    batches = iter(loader)
    for step in range(options.steps):
        batch = next(batches)
        seconds.clear()
        found = model.train_step(batch, optimizer)["log_vars"]
        print(f"step {step}:", json.dumps({name: float(found[name]) for name in found}))
        print(
            "  CPU seconds:", {name: round(value, 4) for name, value in seconds.items()}, flush=True
        )
    weights = hashlib.sha256()
    for parameter in model.parameters():
        weights.update(parameter.detach().numpy().tobytes())
    print("weights", weights.hexdigest()[:16])
    numpys = np.random.random()  # noqa: NPY002  # of the global state, which must be as it was
    print("random numbers", random.random(), numpys, torch.rand(()).item())
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
