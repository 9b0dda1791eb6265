"""A job of one item: made once, of what its files are now, and never mixed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from seco.common.files import write_bytes
from seco.common.jobs import JobOptions, Manifest, Signature, Whole, run_together

JOIN = Manifest("join")


@dataclass
class Job:
    """Joins texts; may be stopped within."""

    root: Path
    seen: list[str] = field(default_factory=list)
    stop: bool = False

    @property
    def out(self) -> Path:
        return self.root / "out"

    def run(self, *, names=("a", "b"), manifest=JOIN, **options):
        inputs = [self.root / name for name in names]

        def work(state: Path):
            kept = state / "kept"
            self.seen.append(kept.read_text() if kept.exists() else "")
            kept.write_text("begun")
            if self.stop:
                raise KeyError("stopped")
            write_bytes(self.out / "joined", b"".join(path.read_bytes() for path in inputs))
            return {"files": len(inputs)}

        item = Whole("joined", inputs, [self.out / "joined"])
        return run_together(item, self.out, manifest, work=work, options=JobOptions(**options))

    @property
    def joined(self) -> bytes:
        return (self.out / "joined").read_bytes()


@pytest.fixture
def job(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    return Job(tmp_path)


def test_it_is_made_once(job):
    first, second = job.run(), job.run()
    assert (first.status, second.status) == ("written", "skipped")
    assert first.facts == second.facts == {"files": 2}
    assert (job.joined, job.seen) == (b"ab", [""])


def test_changed_or_missing_files_make_it_anew(job):
    job.run()
    (job.root / "a").write_text("c")
    assert job.run().status == "written"
    assert job.joined == b"cb"
    (job.out / "joined").unlink()
    assert job.run().status == "written"
    assert job.run(names=("a",)).status == "written"
    assert job.joined == b"c"


def test_a_state_is_gone_on_from_and_removed(job):
    job.stop = True
    with pytest.raises(KeyError):
        job.run()
    job.stop = False
    job.run()
    assert job.seen == ["", "begun"]
    assert not list(job.out.rglob("state-*"))


def test_a_state_of_other_inputs_or_settings_is_not(job):
    job.stop = True
    with pytest.raises(KeyError):
        job.run()
    (job.root / "a").write_text("c")
    with pytest.raises(KeyError):
        job.run()
    with pytest.raises(KeyError):
        job.run(manifest=Manifest("join", {"by": 1}), take_over=True)
    with pytest.raises(KeyError):
        job.run(manifest=Manifest("join", {"by": 1}), overwrite=True)
    assert job.seen == [""] * 4
    assert len(list(job.out.rglob("state-*"))) == 1


def test_what_was_made_otherwise_is_refused_or_taken_over(job):
    job.run()
    other = Manifest("join", {"by": 1})
    with pytest.raises(ValueError, match=r"settings.by is 1, was not given"):
        job.run(manifest=other)
    assert job.joined == b"ab"
    job.stop = True
    with pytest.raises(KeyError):
        job.run(manifest=other, take_over=True)
    assert not (job.out / "joined").exists()  # it would be taken for the other one
    job.stop = False
    assert job.run(manifest=other, take_over=True).status == "written"
    assert job.run(manifest=other, take_over=True).status == "skipped"
    assert job.run(manifest=other, overwrite=True).status == "written"


def test_a_missing_input_is_said(job):
    with pytest.raises(FileNotFoundError):
        job.run(names=("a", "nowhere"))
    assert job.seen == []


def test_the_work_may_sign_its_inputs_and_name_its_output(tmp_path):
    """A file is called by its length; it is gone once another one is to be made of known inputs."""
    source, out = tmp_path / "source", tmp_path / "out"

    class Measured:
        name, inputs = "length", [source]

        @property
        def outputs(self):
            return sorted(out.glob("length-*"))

    def make(sign):
        def work(state: Path):
            write_bytes(out / f"length-{source.stat().st_size}", b"")
            return {}

        options = {"work": work, "sign": sign, "options": JobOptions()}
        return run_together(Measured(), out, Manifest("length"), **options).status

    def signed():
        return [Signature.of(source)]

    source.write_text("four")
    assert make(signed) == "written"
    assert make(lambda: 1 / 0) == "skipped"
    source.write_text("seven..")
    with pytest.raises(ZeroDivisionError):
        make(lambda: 1 / 0)
    assert [path.name for path in out.glob("length-*")] == ["length-4"]
    assert [make(signed), make(signed)] == ["written", "skipped"]
    assert [path.name for path in out.glob("length-*")] == ["length-7"]
