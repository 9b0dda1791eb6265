"""The benchmarks' command: runs of cheap ones, what all are given, and the committed page."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SUITE = ROOT / "tests" / "benchmarks"
NAME = "in_loop"  # takes the least


# Scripts of the folder, by themselves: names such as `measuring` are others' here, too.
PARSE_ALL = """
import argparse, sys
from importlib import import_module
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from page import SECTIONS
from suite import SCALES, SUITE

class Parsed(Exception):
    pass

def parse_only(self, words=None, namespace=None):
    _, unknown = self.parse_known_args(words, namespace)
    if unknown:
        self.error(f"unknown: {unknown}")
    raise Parsed

argparse.ArgumentParser.parse_args = parse_only
scripts = {path.name for path in Path(sys.argv[1]).glob("bench_*.py")}
assert scripts == {one.script for one in SUITE.values()} == set(SECTIONS)
assert scripts == {one.script for one in SUITE.values() if one.smoke is not None}
for name, one in SUITE.items():
    for scale in SCALES:
        words = one.options(scale)
        if words is None:
            continue
        sys.argv = [one.script, *words, "--device", "cpu", "--out", "x.json"]
        try:
            import_module(one.script.removesuffix(".py")).main()
        except Parsed:
            print(name, scale)
        except SystemExit:
            raise SystemExit(f"{name}, {scale}: {words}") from None
"""
PAGE = """
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from page import page

print(page(Path(sys.argv[2])))
"""


def python(script: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, str(SUITE), *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def command(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SUITE), *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmarks")
    ran = command("--scale", "smoke", "--only", NAME, "--out", folder, "--commit", "one")
    assert (ran.returncode, ran.stdout) == (0, f"done: {NAME}\n"), ran.stderr
    return folder


def test_a_benchmark_says_what_was_measured_and_how(out):
    record = json.loads((out / f"bench_{NAME}.json").read_bytes())
    script = f"bench_{NAME}.py"
    assert record["command"].startswith(f"python tests/benchmarks/{script} --height 128")
    assert str(out) not in record["command"]
    assert record["commit"] == "one"
    assert {"machine", "versions", "seeds", "other work, share of the cores"} <= record.keys()
    for kind in ("found_regions", "overlapping_boxes"):
        spent = record[kind]["call, ms"]
        assert 0 < spent["min"] <= spent["median"] <= spent["max"]
    assert [path.name for path in out.iterdir()] == [f"bench_{NAME}.json"]


def test_every_benchmark_takes_what_the_suite_gives_it_and_has_a_section():
    ran = python(PARSE_ALL)
    assert ran.returncode == 0, ran.stderr
    for scale, least in (("smoke", 10), ("cpu", 12), ("gpu", 20)):
        assert ran.stdout.count(scale) >= least


def test_practice_and_ours_are_compared_by_stage_and_put_on_a_page(out, tmp_path):
    ran = command("--scale", "smoke", "--only", "refine", "--out", tmp_path, "--commit", "one")
    assert (ran.returncode, ran.stdout) == (0, "done: refine\n"), ran.stderr
    (tmp_path / f"bench_{NAME}.json").write_bytes((out / f"bench_{NAME}.json").read_bytes())
    (found,) = json.loads((tmp_path / "bench_refine.json").read_bytes())["results"]
    stages = found["stages"]
    assert list(stages) == ["encode", "segment everything", "prompts", "vote", "whole"]
    parts = [stages[stage]["practice, ms"]["median"] for stage in ("encode", *stages)][:-1]
    assert stages["whole"]["practice, ms"]["median"] == pytest.approx(sum(parts), abs=0.01)
    assert 0 < found["ours: own work, share"]["median"] < 1

    page = python(PAGE, tmp_path).stdout
    for row in ("| whole: ours, accelerated | ", "| found: "):
        assert row in page
    missing = page[page.index("What has not been run") :]
    assert "refine_vit_b" in missing
    assert "refine," not in missing


def test_what_is_done_is_skipped_until_the_commit_is_another(out):
    words = ["--scale", "smoke", "--only", NAME, "--out", out, "--minutes", "0"]
    same = command(*words, "--commit", "one")
    assert (same.returncode, same.stdout) == (0, f"done before: {NAME}\n")
    for other in (["--commit", "two"], ["--commit", "one", "--again"]):
        ran = command(*words, *other)  # without a minute to do it in
        assert (ran.returncode, ran.stdout) == (3, f"left: {NAME}\n")


def test_what_is_done_of_changed_files_is_done_again(out, tmp_path):
    record = json.loads((out / f"bench_{NAME}.json").read_bytes())
    changed = "one with changes"
    (tmp_path / f"bench_{NAME}.json").write_text(json.dumps({**record, "commit": changed}))
    words = ["--scale", "smoke", "--only", NAME, "--out", tmp_path, "--minutes", "0"]
    ran = command(*words, "--commit", changed)
    assert (ran.returncode, ran.stdout) == (3, f"left: {NAME}\n")


def test_what_fails_does_not_stop_the_rest_and_is_told(tmp_path):
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import suite, dataclasses\n"
        "for name in ('regions', 'sizes'):\n"
        "    suite.SUITE[name] = dataclasses.replace(suite.SUITE[name], smoke=name)\n"
        "    suite.SUITE[name] = dataclasses.replace(suite.SUITE[name], script=sys.argv[2])\n"
        "import runpy\n"
        "sys.argv = [sys.argv[1], *sys.argv[3:]]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    fake = tmp_path / "fake.py"
    fake.write_text(
        "import json, sys\n"
        "if sys.argv[1] == 'regions':\n"
        "    sys.exit('broken')\n"
        "open(sys.argv[-1], 'w').write(json.dumps({'results': 1}))\n"
    )
    words = ["--scale", "smoke", "--only", "regions", "sizes", "--out", tmp_path / "out"]
    ran = subprocess.run(
        [sys.executable, "-c", script, str(SUITE), str(fake), *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (1, "done: sizes\nfailed: regions\n"), ran.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["bench_sizes.json"]


def test_the_page_is_what_is_made_of_the_committed_figures(tmp_path):
    made = tmp_path / "benchmarks.md"
    assert command("--write-docs", made).returncode == 0
    assert (ROOT / "docs" / "benchmarks.md").read_text("utf-8") == made.read_text("utf-8")


def test_every_committed_file_is_on_the_page():
    page = (ROOT / "docs" / "benchmarks.md").read_text("utf-8")
    files = sorted((ROOT / "docs" / "results").glob("bench_*.json"))
    assert files
    for file in files:
        assert f"(results/{file.name})" in page
        assert json.loads(file.read_bytes())["command"] in page
