"""Refine soft pseudo-labels, as ProDA's first stage reads them: (classes, h, w) in .npy files.

    python refine_soft_labels.py Pseudo/warmup_soft regions/ Pseudo/warmup_soft_seco

Where a refined class differs from the most probable one, its probability becomes ``--sure`` and
the others share the rest; all else stays. Regions are those of the full images
(``seco regions``), the labels of any stride.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from tqdm import tqdm

import seco
from seco.common.files import write_bytes


def refine(soft: np.ndarray, regions_file: Path, sure: float) -> np.ndarray:
    """Return (classes, h, w) probabilities of ``soft``'s dtype."""
    label, confidence = soft.argmax(0), soft.max(0)
    region_map, table = seco.read_region_map(regions_file)
    region_map = seco.transform_region_map(region_map, resize=label.shape)
    refined = seco.refine_pseudo_labels(
        None,
        label,
        regions=seco.from_region_map(region_map, table),
        confidence=confidence.astype(np.float32),
        outside="keep",
    )
    one_hot = np.full_like(soft, (1 - sure) / (len(soft) - 1))
    np.put_along_axis(one_hot, refined[None], np.array(sure, soft.dtype), axis=0)
    return np.where(refined == label, soft, one_hot)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("soft", type=Path, help="folder of .npy files")
    parser.add_argument("regions", type=Path, help="what seco regions wrote, subfolders included")
    parser.add_argument("out", type=Path)
    parser.add_argument("--sure", type=float, default=0.9)
    options = parser.parse_args()
    found = {path.stem: path for path in options.regions.rglob("*.npz")}
    changed = []
    for path in tqdm(sorted(options.soft.glob("*.npy"))):
        soft = np.load(path)
        new = refine(soft, found[path.stem], options.sure)
        changed.append(float((new.argmax(0) != soft.argmax(0)).mean()))
        buffer = io.BytesIO()
        np.save(buffer, new)
        options.out.mkdir(parents=True, exist_ok=True)
        write_bytes(options.out / path.name, buffer.getvalue())
    print(f"{len(changed)} written, {100 * sum(changed) / max(len(changed), 1):.1f} % changed")


if __name__ == "__main__":
    main()
