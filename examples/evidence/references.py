"""What a section of variations is seen beside: the same as by default, of another section."""

from __future__ import annotations

from evidence.cells import Cell, before_in_rounds
from evidence.seco_suite import SENSITIVITY, SOURCE_ONLY
from evidence.sgg_suite import GUIDANCE_SCALE, PTL, STAGES, TRANSLATION
from evidence.summary import Numbers


def references(numbers: Numbers, whole: Numbers) -> Numbers:
    """The cells that the cells of a section vary, but for those of the section itself.

    Args:
        numbers: of the section.
        whole: of all cells of the file.
    """
    found = dict.fromkeys(other for cell in numbers for other in _varied(cell))
    return {cell: whole[cell] for cell in found if cell in whole and cell not in numbers}


def _varied(cell: Cell) -> list[Cell]:
    def other(setting: str, arm: str, **options: object) -> Cell:
        return Cell.of(cell.suite, cell.data, setting, arm, cell.seed, **options)

    if cell.option("round") is not None:
        return [other(cell.setting, SOURCE_ONLY), before_in_rounds(cell)]
    if cell.option("witness") is not None:
        rest = {"rest": cell.option("rest")} if cell.option("rest") else {}
        return [other(cell.setting, cell.arm, **rest)]
    if cell.setting == SENSITIVITY:
        return [other("source-free", "PSA + SCC", rest="kept")]
    if cell.setting == GUIDANCE_SCALE:
        return [
            other(TRANSLATION, arm, strength=cell.option("strength"))
            for arm in ("unguided", cell.arm)
        ]
    if cell.setting == STAGES:
        last = float(cell.option("stages").split()[-1])
        return [other(TRANSLATION, arm, strength=last) for arm in ("SGG", PTL)]
    return []
