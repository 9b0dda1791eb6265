"""What the page says of the benchmarks of sgg: tables of one record each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tables import by, markdown, number, spread, times

Record = dict[str, Any]


def translate(record: Record) -> Iterator[str]:
    ratios = ("GSG / unguided", "LCG / unguided", "LCG / GSG", "LCG, margin 32 / GSG")
    for name, found in record["results"].items():
        how = ", channels last" * record["channels_last"] + ", compiled" * record["compiled"]
        copies = f"at most {record['max_copies']} copies in a pass"
        yield f"**{name}**, {record['dtype']}{how}, {copies}."
        rows = [
            [
                f"{by(told['size'])}, {told['classes']} "
                f"{'class' if told['classes'] == 1 else 'classes'}",
                *(number(told[ratio]) for ratio in ratios),
                *(spread(told["ms"][kind]) for kind in ("unguided", "GSG", "LCG")),
            ]
            for told in found["steps"]
        ]
        head = ("a step", *ratios, "unguided, ms", "GSG, ms", "LCG, ms")
        yield markdown(head, rows)
        rows = []
        for told in found["images"]:
            what = f"{by(told['size'])}, {told['classes']} classes, {told['steps']} steps"
            for kind, spent in told["ms"].items():
                ratio = number(told["times unguided"].get(kind, 1.0))
                rows.append([f"{what}: {kind}", ratio, spread(spent)])
        yield markdown(("an image", "times unguided", "ms"), rows)


def guidance(record: Record) -> Iterator[str]:
    found = record["results"].get("steps")
    if found is not None:
        yield f"An image of {by(found['size'])} with {found['classes']} classes."
        ratios = [
            [name, times(told) if name.startswith("loop") else number(told)]
            for name, told in found.items()
            if " / " in name
        ]
        yield markdown(("", "ratio"), ratios)
        yield markdown(("what", "ms"), [[name, spread(told)] for name, told in found["ms"].items()])
        rows = [
            [
                name,
                number(told["cosine to the exact gradient"]),
                number(told["pixels, share of whole images"]),
                number(told["batches"]),
            ]
            for name, told in found["crops"].items()
        ]
        head = ("crops", "cosine to the exact gradient", "pixels, of whole images", "batches")
        yield markdown(head, rows)
    tiles = record["results"].get("tiles")
    if tiles is not None:
        rows = []
        for kind in ("whole", "blended", "each for itself"):
            values = (
                tiles[f"{kind}: {what}"]
                for what in (
                    "step at the border / typical step",
                    "mean difference to whole, of 255",
                )
            )
            rows.append([kind, *(", ".join(map(number, several)) for several in values)])
        head = (
            f"tiles of {by(tiles['tile_size'])} in {by(tiles['size'])}, per scene",
            "step at the border / typical step",
            "mean difference to whole, of 255",
        )
        yield markdown(head, rows)
