"""What is committed with the notebooks; `jupyter execute`, in the test command, runs them."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import pytest
from PIL import Image

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples/notebooks").glob("*.ipynb"))


def test_both_packages_have_one():
    assert [path.stem for path in NOTEBOOKS] == ["seco", "sgg"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_of_one_run_from_top_to_bottom_and_worth_a_look(path):
    cells = [
        cell
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "code"
    ]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    kinds = {output.get("name", output["output_type"]) for output in outputs}
    assert kinds <= {"execute_result", "stdout"}  # no error, no warning
    pictures = [
        base64.b64decode(output["data"]["image/png"])
        for output in outputs
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) >= 3
    for picture in pictures:
        with Image.open(io.BytesIO(picture)) as shown:
            assert min(shown.size) > 150
            assert len(shown.convert("RGB").getcolors(2**24)) > 20
    assert path.stat().st_size < 1_500_000
