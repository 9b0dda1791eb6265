"""What the page says of the benchmarks of sgg: tables of one record each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tables import by, counted, markdown, number, spread, times

Record = dict[str, Any]


def translate(record: Record) -> Iterator[str]:
    ratios = ("GSG / unguided", "LCG / unguided", "LCG / GSG")
    for name, found in record["results"].items():
        how = ", channels last" * record["channels_last"] + ", compiled" * record["compiled"]
        copies = f"at most {record['max_copies']} copies in a pass (on a CPU fewer of large images)"
        yield f"**{name}**, {record['dtype']}{how}, {copies}."
        rows = [
            [
                f"{by(told['size'])}, {counted(told['classes'], 'class')}",
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
    found = record["results"]["steps"]
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


def batches(record: Record) -> Iterator[str]:
    images, tiles = record["results"]["images"], record["results"]["tiles"]
    classes = ", ".join(map(str, images["classes"]))
    steps = counted(record["steps"], "step")
    yield (
        f"Images of {by(images['size'])} whose labels have {classes} classes, {steps}; tiles of "
        f"{by(tiles['tile_size'])} in an image of {by(tiles['size'])}, {steps}."
    )
    head = ("times one", "images/s", "ms per image")
    rows = [
        [count, *_pace(told), f"{number(told['copies in a pass'])} of {record['max_copies']}"]
        for count, told in images["images_per_batch"].items()
    ]
    yield markdown(("images_per_batch", *head, "copies in a pass"), rows)
    rows = [[count, *_pace(told)] for count, told in tiles["tiles_per_batch"].items()]
    yield markdown(("tiles_per_batch", *head), rows)
    yield _seams(record["results"]["seams"])


def _pace(told: Record) -> list[str]:
    paces = times(told["times the first"]), number(told["images/s"])
    return [*paces, spread(told["ms per image"])]


def _seams(found: Record) -> str:
    columns = ("step at the border / typical step", "mean difference to whole, of 255")
    rows = [
        [kind, *(", ".join(map(number, found[f"{kind}: {column}"])) for column in columns)]
        for kind in ("whole", "blended", "each for itself")
    ]
    what = f"tiles of {by(found['tile_size'])} in {by(found['size'])}, per scene"
    return markdown((what, *columns), rows)
