"""Which files of a data set belong together: namings, folders, lists."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from seco.common.inputs import find_inputs
from seco.common.lists import read_list, write_lists
from seco.common.naming import Naming


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def pairs(images: Path, labels: Path, **options: object) -> list[tuple[str, str]]:
    inputs = find_inputs(images, labels, **options)
    assert inputs.failures == ()
    return [
        (files.image.relative_to(images).as_posix(), files.label.relative_to(labels).as_posix())
        for files in inputs.files
    ]


DATASETS = {
    "plain": (["b.jpg", "sub/a.b.png"], ["b.png", "sub/a.b.png"], []),
    "cityscapes": (
        ["aachen/aachen_0_leftImg8bit.png", "ulm/ulm_1_leftImg8bit.png"],
        ["aachen/aachen_0_gtFine_labelTrainIds.png", "ulm/ulm_1_gtFine_labelTrainIds.png"],
        ["aachen/aachen_0_gtFine_color.png", "aachen/aachen_0_gtFine_labelIds.png"],
    ),
    "gta": (["00001.png", "00002.png"], ["00001_labelTrainIds.png", "00002_labelTrainIds.png"], []),
    "bdd": (["0a-1.jpg", "0b-2.jpg"], ["0a-1_train_id.png", "0b-2_train_id.png"],
            ["0a-1_train_color.png"]),
}  # fmt: skip


@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize("naming", DATASETS)
def test_datasets_are_paired_as_they_come(tmp_path, naming, said):
    images, labels, more = DATASETS[naming]
    touch(tmp_path / "i", *images)
    touch(tmp_path / "l", *labels, *more)
    options = {"naming": naming} if said else {}
    assert pairs(tmp_path / "i", tmp_path / "l", **options) == list(
        zip(images, labels, strict=True)
    )


def test_labels_called_as_cityscapes_images_are_found(tmp_path):
    names = ["a/a_0_leftImg8bit.png"]
    touch(tmp_path / "i", *names)
    touch(tmp_path / "l", *names)
    for naming in ("auto", "cityscapes"):
        assert pairs(tmp_path / "i", tmp_path / "l", naming=naming) == [(names[0], names[0])]


def test_synthia_has_raw_labels_beside_those_with_train_ids(tmp_path):
    """Plain names would take the raw ids: nobody but the user can tell."""
    touch(tmp_path / "RGB", "0000000.png")
    touch(tmp_path / "GT/LABELS", "0000000.png", "0000000_labelTrainIds.png")
    places = tmp_path / "RGB", tmp_path / "GT/LABELS"
    with pytest.raises(ValueError, match=r"more than one fits: plain \(0000000\.png\), gta "):
        find_inputs(*places)
    assert pairs(*places, naming="synthia") == [("0000000.png", "0000000_labelTrainIds.png")]
    assert pairs(*places, naming="gta") == [("0000000.png", "0000000_labelTrainIds.png")]
    plain = find_inputs(*places, naming="plain")
    assert [files.label.name for files in plain.files] == ["0000000.png"]


@pytest.mark.parametrize(
    ("images", "labels", "agree"),
    [
        (["ulm/ulm_0.png", "bonn/bonn_0.png"], ["ulm_0.png", "bonn_0.png"], True),
        (["ulm/u_leftImg8bit.png"], ["u_gtFine_labelTrainIds.png"], True),
        (["a.png"], ["ulm/a.png", "ulm/a_labelTrainIds.png"], True),  # two namings fit
        (["ulm/a.png"], ["b.png"], False),
        (["ulm/a.png"], ["ulm/a_pred.png"], False),
    ],
)
def test_labels_in_other_subfolders_than_images_are_told_of(tmp_path, images, labels, agree):
    places = touch(tmp_path / "i", *images), touch(tmp_path / "l", *labels)
    with pytest.raises(ValueError, match="expected images and labels with the same names") as said:
        find_inputs(*places)
    assert ("agree: --match name pairs by them" in str(said.value)) == agree
    with pytest.raises(ValueError, match="with the same names") as said:
        find_inputs(*places, naming=Naming(label_ends=("_other",)))
    assert "--match name" not in str(said.value)


@pytest.mark.parametrize(
    ("images", "labels", "naming", "hint"),
    [
        (["0.png", "1.png"], ["0_pred.png", "1_pred.png"], ("", "_pred"),
         "; --label-suffix _pred pairs 2 of them"),
        (["a/0_rgb.jpg"], ["a/0-id.png"], ("_rgb", "-id"),
         "; --image-suffix _rgb --label-suffix -id pairs 1 of them"),
        (["0.rgb.png", "1.rgb.png"], ["1.png"], (".rgb", ""),
         "; --image-suffix .rgb pairs 1 of them"),
        (["0_a.png", "1_b.png"], ["0_pred.png"], None, "in labels"),  # no end that all have
        (["0.png"], ["1_pred.png"], None, "in labels"),
    ],
)  # fmt: skip
def test_suffixes_that_would_pair_are_told(tmp_path, monkeypatch, images, labels, naming, hint):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path / "images", *images)
    touch(tmp_path / "labels", *labels)
    with pytest.raises(ValueError, match="with the same names") as said:
        find_inputs("images", "labels")
    assert str(said.value).endswith(hint)
    if naming is not None:
        found = find_inputs("images", "labels", naming=Naming(*((end,) for end in naming)))
        assert f" {len(found.files)} of them" in hint


def test_why_no_file_counts_is_told(tmp_path):
    images, labels = tmp_path / "images", tmp_path / "labels"
    touch(images, "0.png", "1.png")
    touch(labels, "0.png", "1.png")
    with pytest.raises(
        ValueError, match=r"and 2 files \(0.png, ...\) that the naming leaves alone"
    ):
        find_inputs(images, labels, naming="gta")
    for path in labels.iterdir():
        path.rename(path.with_suffix(".npy"))
    with pytest.raises(
        ValueError, match=r"no file in a format that is read \(.png, .jpg, .*labels"
    ):
        find_inputs(images, labels)
    with pytest.raises(ValueError, match=r"expected images, got no file in a format that is read"):
        find_inputs(labels)


def test_proda_must_be_said_and_brings_confidences_and_its_ignore(tmp_path):
    touch(tmp_path / "i", "a.png")
    touch(tmp_path / "l", "a.png", "a_color.png", "a_conf.npy")
    with pytest.raises(ValueError, match="say --naming proda"):
        find_inputs(tmp_path / "i", tmp_path / "l")
    found = find_inputs(tmp_path / "i", tmp_path / "l", confidence=tmp_path / "l", naming="proda")
    assert found.failures == ()
    assert found.ignore_index == 250
    touch(tmp_path / "ulm", "ulm/u_leftImg8bit.png")
    names = ("u_leftImg8bit.png", "u_leftImg8bit_color.png", "u_leftImg8bit_conf.npy")
    flat = touch(tmp_path / "flat", *names)
    cities = find_inputs(tmp_path / "ulm", flat, confidence=flat, naming="proda", match="name")
    assert cities.failures == ()
    assert [files.name for files in cities.files] == ["u_leftImg8bit"]
    assert found.files[0].confidence == tmp_path / "l/a_conf.npy"


def test_names_alone_suffixes_and_dots(tmp_path):
    touch(tmp_path / "i", "x/one_rgb.png", "y/v1.0_rgb.png", "y/other.png")
    touch(tmp_path / "l", "one_p.png", "v1.0_p.png", "one_color.png")
    naming = Naming(image_ends=("_rgb",), label_ends=("_p",))
    inputs = find_inputs(tmp_path / "i", tmp_path / "l", naming=naming, match="name")
    assert inputs.failures == ()
    assert [files.name for files in inputs.files] == ["one_p", "v1.0_p"]


def test_confidences_may_be_called_conf_in_any_naming(tmp_path):
    for naming, (images, labels, _) in DATASETS.items():
        touch(tmp_path / naming / "i", images[0])
        touch(tmp_path / naming / "l", labels[0])
        stem = Path(labels[0]).with_suffix("").as_posix()
        for end in ("_conf.npy", ".npy"):
            place = touch(tmp_path / naming / end, f"{stem}{end}")
            inputs = find_inputs(
                tmp_path / naming / "i", tmp_path / naming / "l", confidence=place, naming=naming
            )
            assert [one.reason for one in inputs.failures] == []
            assert inputs.files[0].confidence == place / f"{stem}{end}"


def test_files_without_one_partner_are_failures(tmp_path):
    touch(tmp_path / "i", "a.png", "b.png", "c.png", "d.png", "d.jpg")
    touch(tmp_path / "l", "a.png", "b.png", "d.png", "e.png")
    touch(tmp_path / "c", "a.npy")
    inputs = find_inputs(tmp_path / "i", tmp_path / "l", confidence=tmp_path / "c")
    assert [files.name for files in inputs.files] == ["a"]
    reasons = {outcome.name: outcome.reason for outcome in inputs.failures}
    assert reasons["b"] == "no confidence of that name"
    assert reasons["c"].startswith("no label of that name")
    assert reasons["d"].startswith("more than one image of that name: d.jpg, d.png")
    assert reasons["e"].startswith("no image of that name")
    alone = find_inputs(tmp_path / "i")
    assert [files.name for files in alone.files] == ["a", "b", "c"]
    assert [outcome.name for outcome in alone.failures] == ["d"]


def test_a_folder_that_cannot_be_read_is_told(tmp_path, monkeypatch):
    """Root reads every folder, so the refusal is played."""
    touch(tmp_path / "i", "a.png", "closed/b.png")
    touch(tmp_path / "l", "a.png")
    real = os.scandir
    closed = {str(tmp_path / "i/closed")}

    def scandir(path):
        if str(path) in closed:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    inputs = find_inputs(tmp_path / "i", tmp_path / "l")
    assert [files.name for files in inputs.files] == ["a"]
    assert [outcome.name for outcome in inputs.failures] == [str(tmp_path / "i/closed")]
    assert "Permission denied" in inputs.failures[0].reason
    closed.add(str(tmp_path / "i"))
    with pytest.raises(PermissionError):
        find_inputs(tmp_path / "i", tmp_path / "l")


def test_links_are_followed_but_not_in_circles(tmp_path):
    touch(tmp_path / "elsewhere", "b.png", "deep/c.png")
    touch(tmp_path / "i", "a.png", "sub/d.png")
    (tmp_path / "i/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "i/sub/up").symlink_to(tmp_path / "i")
    (tmp_path / "i/root").symlink_to(tmp_path)
    (tmp_path / "elsewhere/deep/back").symlink_to(tmp_path / "i")  # a circle of two links
    names = ["a", "linked/b", "linked/deep/c", "sub/d"]
    assert [files.name for files in find_inputs(tmp_path / "i").files] == names


def test_lists(tmp_path):
    touch(tmp_path / "i", "a/1.jpg", "a/2.jpg")
    touch(tmp_path / "l", "x/1.png", "x/2.png", "c/1.npy")
    path = tmp_path / "list.txt"
    path.write_text("# target\n\na/1.jpg  x/1.png\tc/1.npy\r\na/2.jpg x/2.png c/2.npy\n")
    inputs = find_inputs(tmp_path / "i", tmp_path / "l", list_file=path)
    (files,) = inputs.files
    assert (files.name, files.image_place.as_posix()) == ("x/1", "a/1")
    assert (files.image, files.label, files.confidence) == (
        tmp_path / "i/a/1.jpg", tmp_path / "l/x/1.png", tmp_path / "l/c/1.npy",
    )  # fmt: skip
    assert [(one.name, one.reason) for one in inputs.failures] == [
        ("x/2", f"no confidence at {tmp_path / 'l/c/2.npy'}")
    ]
    alone = find_inputs(tmp_path / "i", list_file=path)
    assert [files.name for files in alone.files] == ["a/1", "a/2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.png\n", r"line 1: expected an image, a label and optionally .* got 'a\.png'"),
        ("a.png a b.png c.png\n", "line 1: .* without spaces"),
        ("a.png b.png\nc.png d.png e.npy\n", "line 2: .* as many columns as in the other"),
        ("a.png b.png\n\nc.png b.png\n", r"line 3: expected every file once, got b\.png as in l"),
        ("# nothing\n", "expected at least one line"),
        ("a.png ../b.png\n", r"expected paths relative to the folders"),
        ("/a.png /b.png\n", r"expected paths relative to the folders"),
    ],
)
def test_lists_that_are_wrong_are_refused(tmp_path, text, message):
    (tmp_path / "list").write_text(text)
    with pytest.raises(ValueError, match=message):
        find_inputs(tmp_path, tmp_path, list_file=tmp_path / "list")


def test_lists_of_other_editors(tmp_path):
    path = tmp_path / "list"
    path.write_bytes("é.png l/é.png\r\n".encode("utf-8-sig"))
    assert read_list(path)[0].image == "é.png"
    path.write_bytes("é.png l/é.png\n".encode("utf-16"))
    with pytest.raises(ValueError, match="list: expected text in UTF-8"):
        read_list(path)


def test_written_lists_are_read_again_and_spaces_refused(tmp_path):
    shares = (0.0, 0.2, 0.5)
    rows = [(tmp_path / f"i/{n}.jpg", tmp_path / f"l/{n}.png", n) for n in shares]
    labelled, unlabelled = write_lists(tmp_path, rows, root=tmp_path)
    assert [line.label for line in read_list(labelled)] == ["l/0.2.png", "l/0.5.png"]
    assert [line.image for line in read_list(unlabelled)] == ["i/0.0.jpg"]
    labelled, _ = write_lists(tmp_path, rows, root=tmp_path, least_share=0.5)
    assert [line.label for line in read_list(labelled)] == ["l/0.5.png"]
    for wrong in (Path("/elsewhere/a.jpg"), tmp_path / "a b.jpg"):
        with pytest.raises(ValueError, match="for the lists"):
            write_lists(tmp_path, [(wrong, tmp_path / "l.png", 1.0)], root=tmp_path)
