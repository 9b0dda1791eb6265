"""Kill a folder job at random moments, and see that nothing is lost, torn, or done otherwise.

    python tests/reliability/kill_folder_jobs.py [--images 200] [--kills 30] [--out kills.json]

Labels of generated streets are refined by a vote of their true regions, with their scores, by
``seco.folder.refine_folder``, once undisturbed, then in one process and in two that are killed with
``kill -9`` again and again, all of them at once or one alone. What is there after a kill must be
whole; in the end every output must be byte for byte that of the undisturbed run, and nothing else
may lie about. A job that comes to its end is begun anew in another folder. Processes are forked,
so that they are killed at work and not while they import torch.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from seco import Regions
from seco.common.files import write_bytes, write_label
from seco.common.jobs import JobOptions
from seco.common.processes import Processes
from seco.demo import STREETS, street_scene
from seco.folder import OutputFormat, Refiner, find_inputs, refine_folder

SIZE = (96, 192)


class Share(Processes):
    """A process that does not wait for the others: these are killed."""

    @property
    def first(self):
        """False: the first would take the others, whom it does not meet, for another run's."""
        return False

    def gather(self, value):
        return [value]


def make_inputs(here: Path, images: int) -> None:
    for name in ("images", "labels", "regions"):
        (here / name).mkdir()
    for seed in range(images):
        scene = street_scene(seed, size=SIZE)
        label = scene.label.copy()
        label[np.random.default_rng(seed).random(SIZE) < 0.3] = STREETS.ignore_index
        Image.fromarray(scene.image).save(here / "images" / f"{seed:04}.png")
        write_label(here / "labels" / f"{seed:04}.png", label, STREETS)
        regions = Regions.from_label_map(torch.from_numpy(scene.label.astype(np.int64)) + 1)
        regions.save(here / "regions" / f"{seed:04}.npz")


def refine(here: Path, out: str, processes: Processes) -> None:
    inputs = find_inputs(here / "images", here / "labels")
    refiner = Refiner(None, STREETS, regions=here / "regions")
    output = OutputFormat(scores=here / f"{out}-scores")
    refine_folder(
        inputs, here / out, refiner, output=output, options=JobOptions(processes=processes)
    )


def start(here: Path, out: str, processes: Processes) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            refine(here, out, processes)
            status = 0
        finally:
            os._exit(status)
    return child


def finish(here: Path, out: str, count: int) -> float:
    began = time.perf_counter()
    children = [start(here, out, Share(rank, count)) for rank in range(count)]
    statuses = [os.waitpid(child, 0)[1] for child in children]
    assert statuses == [0] * count, statuses
    return time.perf_counter() - began


def outputs(here: Path, out: str) -> dict[str, bytes]:
    found = {}
    for folder in (here / out, here / f"{out}-scores"):
        for path in folder.rglob("*"):
            own = ".job" in path.parts or path.suffix == ".json"
            if path.is_file() and not own:
                name = path.relative_to(here).as_posix()
                found[name.replace(out, "out", 1)] = path.read_bytes()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON for the figures")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    figures: dict[str, object] = {"images": arguments.images, "kills": arguments.kills}
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        make_inputs(here, arguments.images)
        undisturbed = finish(here, "whole", 1)
        idle = finish(here, "whole", 1)
        expected = outputs(here, "whole")
        assert len(expected) == 2 * arguments.images
        for count in (1, 2):
            rng = np.random.default_rng([arguments.seed, count])
            jobs, torn, finished = 1, 0, []
            for kill in range(arguments.kills):
                out = f"killed{count}-{jobs}"
                children = [start(here, out, Share(rank, count)) for rank in range(count)]
                # Some kills before the work begins, most of them within it.
                time.sleep(rng.uniform(0, 2 * (idle + undisturbed / 20 / count)))
                for child in children[: 1 if kill % 3 == 2 else count]:
                    os.kill(child, signal.SIGKILL)
                if kill % 3 == 2:
                    time.sleep(0.05)  # the other one goes on for a moment
                    for child in children[1:]:
                        os.kill(child, signal.SIGKILL)
                for child in children:
                    os.waitpid(child, 0)
                present = outputs(here, out)
                torn += sum(path.endswith(".tmp") for path in present)
                whole = {path: data for path, data in present.items() if path in expected}
                assert whole.items() <= expected.items(), "an output is not whole"
                finished.append(len(whole) // 2)
                if len(whole) == len(expected) or kill == arguments.kills - 1:
                    finish(here, out, count)
                    assert outputs(here, out) == expected, "not what an undisturbed run makes"
                    jobs += 1
            within = sum(0 < number < arguments.images for number in finished)
            figures[f"{count} processes"] = {
                "finished at each kill": finished,
                "kills within the work": within,
                "temporary files left by kills": torn,
                "jobs": jobs - 1,
            }
            print(f"{count} process(es), {arguments.kills} kills: all outputs identical")
            print(figures[f"{count} processes"], flush=True)
    figures["seconds undisturbed"] = round(undisturbed, 2)
    figures["seconds when all is finished"] = round(idle, 2)
    if arguments.out is not None:
        words = f"--images {arguments.images} --kills {arguments.kills} --seed {arguments.seed}"
        made = {
            "command": f"python tests/reliability/kill_folder_jobs.py {words}",
            "versions": {"python": sys.version.split()[0], "torch": torch.__version__},
        }
        write_bytes(arguments.out, (json.dumps(made | figures, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
