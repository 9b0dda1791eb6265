"""Who may import whom, and what importing the packages must not load."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.util import find_spec, resolve_name
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# The package a module is in (the longest that fits), and what of ours it may import.
ALLOWED = {
    "seco.common": ("seco.common",),
    "seco": ("seco",),
    "sgg": ("sgg", "seco.common"),
    # Both packages demonstrate on the same scenes, which one of them draws.
    "sgg.demo": ("sgg", "seco.common", "seco.demo"),
}
# Slow to import or optional: loaded by the functions that use them.
HEAVY = ("torchvision", "segment_anything", "transformers", "diffusers", "sklearn", "matplotlib")


def is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def imported_modules(source: str, module: str, is_package: bool) -> list[str]:
    """Every module that a source file imports, wherever in it, with relative names resolved."""
    package = module if is_package else module.rpartition(".")[0]
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package)
            # `from seco import common` imports a module too; a name that is none does no harm,
            # except that `from seco import x` could be either: it counts as `seco.x`.
            found += [f"{base}.{alias.name}" for alias in node.names]
    return found


def forbidden_imports(source: str, module: str, is_package: bool = False) -> list[str]:
    home = max((package for package in ALLOWED if is_within(module, package)), key=len)
    ours = [
        name
        for name in imported_modules(source, module, is_package)
        if is_within(name, "seco") or is_within(name, "sgg")
    ]
    return [name for name in ours if not any(is_within(name, package) for package in ALLOWED[home])]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_packages_import_only_what_they_may():
    paths = sorted([*(ROOT / "seco").rglob("*.py"), *(ROOT / "sgg").rglob("*.py")])
    assert len(paths) > 5
    wrong = {
        module_name(path): names
        for path in paths
        if (
            names := forbidden_imports(
                path.read_text(encoding="utf-8"), module_name(path), path.name == "__init__.py"
            )
        )
    }
    assert wrong == {}


@pytest.mark.parametrize(
    ("module", "line", "forbidden"),
    [
        ("seco.refine", "import sgg", ["sgg"]),
        ("seco.refine", "from sgg.guidance import local", ["sgg.guidance.local"]),
        ("seco.refine", "def f():\n    import sgg.cli", ["sgg.cli"]),
        ("seco.refine", "from seco.common.files import write_bytes", []),
        ("seco.refine", "from . import selection", []),
        ("seco.refine", "import seconds, sggs", []),
        ("seco.common.files", "from seco.components import Components",
         ["seco.components.Components"]),
        ("seco.common.files", "from ..regions import Regions", ["seco.regions.Regions"]),
        ("seco.common.files", "from .. import regions", ["seco.regions"]),
        ("seco.common.files", "import seco", ["seco"]),
        ("seco.common.files", "import sgg.cli", ["sgg.cli"]),
        ("seco.common.files", "from seco.common import labels\nfrom .checks import describe", []),
        ("sgg.translation", "from seco.common.labels import LabelSpace", []),
        ("sgg.translation", "from seco import common", []),
        ("sgg.translation", "import sgg.guidance", []),
        ("sgg.translation", "from seco.refine import refine_pseudo_labels",
         ["seco.refine.refine_pseudo_labels"]),
        ("sgg.translation", "from seco import refine_pseudo_labels",
         ["seco.refine_pseudo_labels"]),
        ("sgg.translation", "import seco", ["seco"]),
        ("sgg.translation", "import seco.sam.protocol", ["seco.sam.protocol"]),
        ("sgg.translation", "from seco.demo.scenes import STREETS", ["seco.demo.scenes.STREETS"]),
        ("sgg.demo.demo", "from seco.demo.scenes import STREETS", []),
        ("sgg.demo.demo", "from seco.refine import refine_pseudo_labels",
         ["seco.refine.refine_pseudo_labels"]),
    ],
)  # fmt: skip
def test_the_check_sees_violations(module, line, forbidden):
    assert forbidden_imports(line, module) == forbidden


def test_relative_imports_of_a_package_start_in_it():
    assert forbidden_imports("from . import labels", "seco.common", is_package=True) == []
    assert forbidden_imports("from . import labels", "seco.common") == ["seco.labels"]


def modules_loaded_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_importing_the_packages_loads_nothing_heavy():
    loaded = modules_loaded_by("import seco, sgg")
    assert {"seco", "sgg"} <= loaded
    assert loaded.isdisjoint(HEAVY)


def test_importing_the_common_layer_loads_nothing_heavy():
    statement = "import seco.common.files, seco.common.images, seco.common.label_spaces"
    assert modules_loaded_by(statement).isdisjoint(HEAVY)


def test_the_check_sees_heavy_modules():
    heavy = next(name for name in ("sklearn", "matplotlib") if find_spec(name))
    assert heavy in modules_loaded_by(f"import {heavy}")
