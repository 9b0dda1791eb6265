"""What the page says of the benchmarks of seco: tables of one record each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tables import by, counted, markdown, number, share, shares, spread, times

Record = dict[str, Any]


def refine(record: Record) -> Iterator[str]:
    for found in record["results"]:
        yield (
            f"**{found['model']}** ({found['weights']} weights, input {found['side']}): "
            f"{counted(record['images'], 'image')} of {by(record['size'])} with "
            f"{spread(record['components'])} components; grid of "
            f"{by([found['points per side']] * 2)} points, in which practice found "
            f"{spread(found['masks found by practice'])} masks, ours "
            f"{spread(found['regions found by ours'])}. Of our whole, "
            f"{shares(found['ours: own work, share'])} is not SAM's networks; accelerated, it "
            f"takes {spread(found['accelerated: whole / encode'])} times what its encoder does."
        )
        rows = []
        for stage, told in found["stages"].items():
            for who in [key[: -len(", ms")] for key in told if key.endswith(", ms")]:
                if who != "practice":
                    values = spread(told[f"{who}, ms"]), spread(told["practice, ms"])
                    rows.append([f"{stage}: {who}", times(told[f"practice / {who}"]), *values])
        yield markdown(("stage", "practice / ours", "ours, ms", "practice, ms"), rows)


def accelerate(record: Record) -> Iterator[str]:
    for found in record["results"]:
        line = (
            f"**{found['model']}** ({found['weights']} weights, input {found['side']}, batch "
            f"{found['batch']}). Roofline: {number(found['GFLOP per image'])} GFLOP"
        )
        if "GFLOP per image, counted in the original" in found:
            counted = number(found["GFLOP per image, counted in the original"])
            line += f" (in the original, with its padding, {counted})"
        line += f" and {number(found['MB per image'])} MB per image"
        if "peak" in found and "roofline, ms per image" in found:
            peak, least = found["peak"], found["roofline, ms per image"]
            line += (
                f"; the device does {number(peak['TFLOP/s'])} TFLOP/s in bfloat16 and "
                f"{number(peak['GB/s'])} GB/s ({peak['source']}), so at least "
                f"{number(max(least.values()))} ms: {number(least['FLOPs at the peak'])} of "
                f"arithmetic, {number(least['bytes at the bandwidth'])} of memory"
            )
        yield line + "."
        ran = {name: told for name, told in found["variants"].items() if "images/s" in told}
        on_gpu = any("peak MB" in told for told in ran.values())
        clock = "ms per image"
        if any(f"CPU {clock}" in told for told in ran.values()):
            clock = f"CPU {clock}"
        key = "share of the bfloat16 peak"
        has_share = any(key in told for told in ran.values())
        head = ["encoder", "times stock", clock, "images/s", "TFLOP/s"]
        head += ["of the peak"] * has_share + ["relative difference"] + ["peak MB"] * on_gpu
        rows = []
        for name, told in ran.items():
            ratio = (times if name.startswith("ours") else number)(told["times as fast as stock"])
            row = [name, ratio, spread(told[clock])]
            row += [number(told["images/s"]), number(told["achieved TFLOP/s"])]
            row += [share(told.get(key))] * has_share
            row += [number(told["relative difference"])]
            rows.append(row + [number(told.get("peak MB"))] * on_gpu)
        yield markdown(head, rows)
        rest = [
            f"{name} ({told.get('skipped') or told['failed']})"
            for name, told in found["variants"].items()
            if name not in ran
        ]
        if rest:
            yield f"Not in the table: {'; '.join(rest)}."


def regions(record: Record) -> Iterator[str]:
    head = (
        "", "practice / this", "regions/s", "images/s", "regions per image", "recall at IoU 0.5",
        "at 0.75", "mean best IoU", "ms per image",
    )  # fmt: skip
    rows = [
        [
            name,
            times(told["practice / this"]) if name != "practice" else "1",
            number(told["regions/s"]),
            number(told["images/s"]),
            number(told["regions per image"]),
            share(told["recall at 0.5"]),
            share(told["recall at 0.75"]),
            number(told["mean best IoU"]),
            spread(told["ms per image"]),
        ]
        for name, told in record["results"].items()
    ]
    yield (
        f"{counted(record['images'], 'image')} of {by(record['size'])}, {record['segments']} true "
        f"segments of at least {record['least_pixels']} pixels."
    )
    yield markdown(head, rows)


def sizes(record: Record) -> Iterator[str]:
    rows = [
        [
            name,
            number(told["images/s"]),
            by(told["size"]),
            str(told["components"]),
            spread(told["ms"]),
            number(told["peak MB"]),
        ]
        for name, several in record["results"].items()
        for told in several
    ]
    if record["accelerated"]:
        yield "With accelerate_sam."
    yield markdown(("SAM", "images/s", "size", "components", "ms", "peak MB"), rows)


def folder(record: Record) -> Iterator[str]:
    rows, watched = [], False
    for kind, several in record["processes"].items():
        for count, told in several.items():
            watched = watched or "GPU at work, %" in told
            row = [f"{kind}, {count}", times(told["times the first"]), spread(told["images/s"])]
            rows.append([*row, spread(told.get("GPU at work, %"))])
    head = ["what, processes", "times one", "images/s", "GPU at work, %"]
    fast = ", accelerate_sam" if record["accelerated"] else ""
    images = f"{counted(record['images'], 'image')} of {by(record['size'])}"
    yield f"{images}, SAM {record['model']}{fast}."
    yield markdown(head[: 3 + watched], [row[: 3 + watched] for row in rows])


def in_loop(record: Record) -> Iterator[str]:
    kinds = {"found_regions": "found", "overlapping_boxes": "random boxes"}
    steps = ("read", "move", "build", "call", "call with agreement", "call with confidence")
    rows = []
    for kind, name in kinds.items():
        found = record[kind]
        what = f"{name}: {found['regions']} regions, {found['atoms']:,} atoms"
        rows.append([what, *(spread(found[f"{step}, ms"]) for step in steps)])
    yield f"Crops of an image of {by(record['size'])}."
    yield markdown(["", *(f"{step}, ms" for step in steps)], rows)


def correct(record: Record) -> Iterator[str]:
    rows = [
        [
            name,
            times(told["one crop each / ours"]),
            spread(told["ours, ms per connectivity"]),
            spread(told["one crop each, ms per connectivity"]),
        ]
        for name, told in record["results"]["fit"].items()
    ]
    yield f"Images of {by(record['size'])}, crops of {by(record['crop'])}."
    yield markdown(("fit", "one crop each / ours", "ours, ms", "one crop each, ms"), rows)
    rows = []
    for name, told in record["results"]["correct"].items():
        for kind in ("regions given", "raw label"):
            values = spread(told[f"{kind}, ms"]), spread(told["extractor, ms"])
            beyond = share(told[f"{kind}, share beyond the extractor"]["median"])
            rows.append([f"{name}: {kind}", beyond, *values])
    yield markdown(("correct", "beyond the extractor", "ms", "extractor alone, ms"), rows)
