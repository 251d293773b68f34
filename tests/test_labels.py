"""Which class's images stand behind which label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from rcas_plugin import RcasError
from rcas_plugin.labels import (
    DataClasses,
    LabelPlan,
    SwapDataset,
    label_of,
    name_labels,
    reference_of,
    repeat_factors,
    resolve_labels,
)
from rcas_plugin.settings import parse_settings


def plan(section: dict[str, Any], names: str, num_classes: int, counts: list[int] | None = None, **more: Any) -> LabelPlan:
    classes = DataClasses(tuple(names.split()), tuple(counts or [5] * len(names.split())))
    return resolve_labels(parse_settings(section), num_classes, classes, **more)


def test_nine_folders_beside_the_new_one_for_nine_labels() -> None:
    found = plan({"swap": {8: 0}}, "0 1 2 3 4 5 6 7 8 9", 9)
    assert found.slots == {8: 0}
    assert found.remaining == {label: label + 1 for label in range(8)}
    assert found.live == tuple(range(9))
    assert found.class_to_label == {0: 8, **{c: c - 1 for c in range(1, 9)}}
    assert found.guessed
    assert "folders without the new ones in order. Set RCAS.labels if they were others" in found.remarks[0]


def test_as_many_folders_as_labels_and_the_new_class_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "x.png").touch()
    found = plan({"swap": {"b": "rust"}, "new_data": str(tmp_path)}, "a b c", 3)
    assert (found.names_before, found.guessed) == (("a", "b", "c"), True)
    assert "taken to be the data set's folders in order" in found.remarks[0]


def test_a_new_folder_beside_the_old_ones() -> None:
    found = plan({"swap": {"dent": "stain"}}, "crack dent scratch stain", 3)
    assert found.slots == {1: 3}
    assert found.remaining == {0: 0, 2: 2}
    assert found.names == ("crack", "stain", "scratch")


def test_the_old_folder_is_gone_and_the_record_says_what_the_labels_were() -> None:
    found = plan({"swap": {"dent": "stain"}}, "crack scratch stain", 3, recorded=["crack", "dent", "scratch"])
    assert found.slots == {1: 2}
    assert found.remaining == {0: 0, 2: 1}
    assert not found.guessed
    assert not found.remarks
    assert found == plan({"swap": {1: "stain"}, "labels": ["crack", "dent", "scratch"]}, "crack scratch stain", 3)


def test_several_slots_and_a_list_of_remaining_labels() -> None:
    found = plan({"swap": {0: "d", "b": "e"}, "remaining": ["c"]}, "a b c d e", 3)
    assert found.slots == {0: 3, 1: 4}
    assert found.remaining == {2: 2}


def test_new_data_from_a_folder_of_its_own(tmp_path: Path) -> None:
    for name in ("x.png", "y.PNG", "notes.txt"):
        (tmp_path / name).write_bytes(b"no image is opened for a label")
    found = plan({"swap": {"b": "rust"}, "new_data": str(tmp_path)}, "a b c", 3)
    assert found.slots == {1: None}
    assert [Path(file).name for file in found.new_files[1]] == ["x.png", "y.PNG"]
    assert found.names == ("a", "rust", "c")
    assert found.class_to_label == {0: 0, 2: 2}


@pytest.mark.parametrize(
    ("section", "counts", "sentence"),
    [
        ({"swap": {3: 3}}, None, "RCAS.swap: slot 3 is outside the labels; allowed: 0 to 2"),
        ({"swap": {-1: 3}}, None, "RCAS.swap: slot -1 is outside the labels; allowed: 0 to 2"),
        ({"swap": {"e": "d"}}, None, "RCAS.swap: slot 'e' is not a label; allowed: a, b, c"),
        ({"swap": {"a": "z"}}, None, "RCAS.swap: the new class 'z' has no images"),
        ({"swap": {"a": 7}}, None, "RCAS.swap: there is no class of index 7 in the data set; allowed: 0 to 3"),
        ({"swap": {"a": "d"}}, [5, 5, 5, 0], "RCAS.swap: the new class 'd' has no images"),
        ({"swap": {"a": "d", 0: "d"}}, None, "RCAS.swap: the same slot is named twice"),
        ({"swap": {"a": "d", "b": 3}}, None, "RCAS.swap: the same new class is named for two slots"),
        ({"swap": {"a": "d"}, "remaining": ["a", "c"]}, None, "RCAS.remaining: slot a of RCAS.swap cannot remain"),
        ({"swap": {0: 3}, "remaining": [0]}, None, "RCAS.remaining: slot 0 of RCAS.swap cannot remain"),
        ({"swap": {"a": "b"}, "remaining": ["b"]}, None, "RCAS.swap: the new class 'b' stands behind label 1 already"),
        ({"swap": {"a": "d"}, "remaining": [5]}, None, "RCAS.remaining: 5 is outside the labels; allowed: 0 to 2"),
        ({"swap": {"a": "d"}, "remaining": ["x"]}, None, "RCAS.remaining: 'x' is not a label"),
        ({"swap": {"a": "d"}, "remaining": ["c"]}, [5, 5, 0, 5], "RCAS.remaining: label 2 (c) has no images"),
        ({"swap": {"a": "d"}, "labels": ["a"]}, None, "RCAS.labels: 1 names for a GAN of 3 labels"),
    ],
)
def test_mistakes(section: dict[str, Any], counts: list[int] | None, sentence: str) -> None:
    with pytest.raises(RcasError) as mistake:
        plan(section, "a b c d", 3, counts, recorded=["a", "b", "c"])
    assert str(mistake.value).startswith(sentence)


def test_an_index_that_is_meant_as_a_folder_gets_a_hint() -> None:
    with pytest.raises(RcasError, match='for the class folder write "9" in quotes'):
        plan({"swap": {9: "0"}}, "0 1 2 3 4 5 6 7 8 9", 9)


def test_classes_that_cannot_be_told_apart_need_the_key() -> None:
    with pytest.raises(RcasError, match=r"RCAS.labels: the data set has 5 classes and the GAN 3 labels"):
        plan({"swap": {"a": "b"}}, "a b c d e", 3)


MISSPELT = ["pitted-surface", "rolled_in", "scratches"]


def test_a_label_that_should_stay_and_has_no_folder_is_refused() -> None:
    """L1: a misspelt or renamed class is not dropped in silence: the sentence names the nearest folder and both cures."""
    folders = "dent pitted_surface rolled_in scratches"
    for more in ({"labels": MISSPELT}, {}):
        with pytest.raises(RcasError) as mistake:
            plan({"swap": {"scratches": "dent"}, **more}, folders, 3, recorded=None if more else MISSPELT)
        assert str(mistake.value).startswith("RCAS.remaining: label 0 is to stay, and the data set has no images of its class")
        assert "'pitted-surface'; the nearest folder is 'pitted_surface': name one after the other" in str(mistake.value)
        assert "RCAS.labels" in str(mistake.value)
        assert str(mistake.value).endswith("or list in RCAS.remaining the labels that stay")


def test_a_label_that_should_stay_and_has_an_empty_folder_is_refused() -> None:
    """L1: a folder without images is no class to train on, and no folder is like it."""
    with pytest.raises(RcasError, match=r"label 2 is to stay, .* no images of its class 'c'; put them back"):
        plan({"swap": {"a": "d"}}, "a b c d", 3, [5, 5, 0, 5], recorded=["a", "b", "c"])


def test_labels_are_dropped_on_purpose_and_stay_dropped() -> None:
    """L1: what the section does not list, or an earlier swap has dropped, needs no images; the slot's old class neither."""
    labels = ["a", "b", "c", "x"]
    assert dict(plan({"swap": {"b": "d"}, "remaining": ["a", "c"]}, "a c d", 4, recorded=labels).remaining) == {0: 0, 2: 1}
    found = plan({"swap": {"b": "d"}}, "a c d", 4, recorded=labels, dropped={"x"})
    assert (dict(found.remaining), dict(found.slots), found.live) == ({0: 0, 2: 1}, {1: 2}, (0, 1, 2))
    with pytest.raises(RcasError, match=r"RCAS.remaining: label 3 is to stay"):
        plan({"swap": {"b": "d"}}, "a c d", 4, recorded=labels)


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (["a", "a", "c"], r"^RCAS.labels: 'a' is named for two labels"),
        (["b", "a", "c"], r"^RCAS.labels: 'b' is named for label 0, and rcas.json beside the checkpoint has it at label 1"),
        (["a", "old", "c"], r"^RCAS.labels: 'old' is named for label 1, and rcas.json .* says that 'b' has taken its place"),
    ],
)
def test_labels_that_contradict_themselves_or_the_record(labels: list[str], sentence: str) -> None:
    """L2, L3: two labels of one class, or a class that is recorded at another label, are refused."""
    with pytest.raises(RcasError, match=sentence):
        plan({"swap": {0: "d"}, "labels": labels}, "a b c d old", 3, recorded=["a", "b", "c"], former={"old"})


def test_a_renamed_class_is_said() -> None:
    """L3: a name that the record does not know is a renamed folder; it is taken, and said."""
    found = plan({"swap": {0: "d"}, "labels": ["a", "bee", "c"]}, "bee c d", 3, recorded=["a", "b", "c"])
    assert found.names == ("d", "bee", "c")
    assert found.remarks == ("RCAS.labels names label 1 'bee', and rcas.json beside the checkpoint 'b'; RCAS.labels is taken",)


def test_a_record_of_other_labels_is_refused() -> None:
    """L3: a record with another number of labels, or with a class twice, is not passed over for a guess."""
    with pytest.raises(RcasError, match=r"^-ckpt: rcas.json .* names 2 labels and the GAN has 3; take the config that"):
        plan({"swap": {0: "d"}}, "a b c d", 3, recorded=["a", "b"])
    with pytest.raises(RcasError, match=r"^RCAS.labels: rcas.json .* names 'a' for two labels; list the class of each"):
        plan({"swap": {0: "d"}}, "a b c d", 3, recorded=["a", "b", "a"])


@pytest.mark.parametrize(
    ("swap", "folders", "offer"),
    [
        ({"b": "d"}, "a c d", 'labels: ["a", "b", "c"]'),
        ({1: "d"}, "a c d", 'labels: ["a", "THE CLASS OF LABEL 1", "c"]'),
        ({"z": "d"}, "a c d", 'labels: ["a", "c", "z"]'),
        ({"b": "d", "c": "e"}, "a d e", 'labels: ["a", "b", "c"]'),
        ({"9": "0"}, "0 7 8", 'labels: ["7", "8", "9"]'),
        ({"x": "a", "y": "b"}, "a b c", 'labels: ["c", "x", "y"]'),
    ],
)
def test_a_guess_that_counts_the_new_class_among_the_labels_is_refused(swap: dict[Any, Any], folders: str, offer: str) -> None:
    """L9: no record, the old folder gone and the new one there: as many folders as labels, and every label would shift."""
    with pytest.raises(RcasError) as mistake:
        plan({"swap": swap}, folders, 3)
    assert str(mistake.value).startswith("RCAS.labels: nothing records which class each label was trained on")
    assert str(mistake.value).endswith(f"list the class folder of each label at pre-training, in order: {offer}")
    (section,) = [{"labels": yaml.safe_load(offer.removeprefix("labels: "))}]
    if 1 not in swap:
        assert plan({"swap": swap, **section}, folders, 3).names_before == tuple(section["labels"]), "ready to paste"


def test_a_new_class_that_stands_behind_another_label_is_refused() -> None:
    """L11: it would drop that label in silence; the record and RCAS.labels say alike where it stands."""
    for more in ({"recorded": ["a", "b", "c"]}, {"labels": ["a", "b", "c"]}):
        section = {"swap": {"a": "c"}, **({"labels": more["labels"]} if "labels" in more else {})}
        with pytest.raises(RcasError, match=r"^RCAS.swap: the new class 'c' stands behind label 2 already; name another class"):
            plan(section, "a b c", 3, recorded=more.get("recorded"))


def test_a_new_class_of_another_label_in_a_folder_of_its_own(tmp_path: Path) -> None:
    """L11: images elsewhere do not make it another class."""
    (tmp_path / "x.png").touch()
    with pytest.raises(RcasError, match=r"^RCAS.swap: the new class 'c' stands behind label 2 already"):
        plan({"swap": {"a": "c"}, "new_data": str(tmp_path)}, "a b c", 3)


def test_slots_may_exchange_their_classes() -> None:
    """L11: a class whose own label is a slot as well stands nowhere any more."""
    found = plan({"swap": {"a": "b", "b": "a"}}, "a b c", 3, recorded=["a", "b", "c"])
    assert (found.names, dict(found.slots), dict(found.remaining)) == (("b", "a", "c"), {0: 1, 1: 0}, {2: 2})


def test_a_slot_that_is_no_label_says_where_the_labels_come_from() -> None:
    """L11: and that RCAS.labels says otherwise."""
    with pytest.raises(RcasError, match=r"allowed: a, b, c \(by rcas.json .*; set RCAS.labels where they were others\)$"):
        plan({"swap": {"e": "d"}}, "a b c d", 3, recorded=["a", "b", "c"])
    with pytest.raises(RcasError, match=r"allowed: a, b, c \(by the other folders; set RCAS.labels where they were others\)$"):
        plan({"swap": {"e": "d"}}, "a b c d", 3)


def test_the_classes_of_labels_for_whoever_asks() -> None:
    """L8: one function says which label is which, and what it knows that from; names come before indices."""
    assert name_labels(2, ("a", "b", "c"), recorded=("x", "y")) == (("x", "y"), "recorded")
    assert name_labels(2, ("a", "b", "c"), ("b", "c"), ("b", "x")) == (("b", "c"), "labels")
    assert name_labels(3, ("a", "b", "c")) == (("a", "b", "c"), "folders")
    assert name_labels(2, ("a", "b", "c"), new={"a"}) == (("b", "c"), "other folders")
    assert [label_of(reference_of(text, ("3", "0", "x")), ("3", "0", "x")) for text in ("3", "0", "2", "x", "9", "z", "²")] == [
        0, 1, 2, 2, None, None, None,
    ]  # fmt: skip


def test_new_data_without_images(tmp_path: Path) -> None:
    with pytest.raises(RcasError, match=r"RCAS.new_data: the new class 'rust' has no images"):
        plan({"swap": {"b": "rust"}, "new_data": str(tmp_path)}, "a b c", 3)


class NoImages(torch.utils.data.Dataset[Any]):
    """Fails where an image is opened to learn a label; yields the index as the image otherwise."""

    def __init__(self, *, closed: bool) -> None:
        self.closed = closed

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        assert not self.closed, "an image was opened"
        return torch.tensor(index), -1


def test_old_images_are_left_out_and_new_ones_carry_the_slots_label() -> None:
    found = LabelPlan(3, {2: 0}, {1: 1}, ("x", "b", "a"), ("x", "b", "c"))
    targets = [0, 1, 2, 1, 0, 2]
    assert SwapDataset(NoImages(closed=True), targets, found).labels == [2, 1, 1, 2]
    data = SwapDataset(NoImages(closed=False), targets, found)
    assert [(int(image), label) for image, label in (data[k] for k in range(len(data)))] == [(0, 2), (1, 1), (3, 1), (4, 2)]


def test_image_files_of_a_new_class(tmp_path: Path) -> None:
    Image.new("L", (4, 4), 7).save(tmp_path / "x.png")
    found = plan({"swap": {"c": "rust"}, "new_data": str(tmp_path)}, "a b c", 3)
    data = SwapDataset(NoImages(closed=True), [2, 2], found, transform=lambda image: torch.tensor(image.getpixel((0, 0))))
    assert len(data) == 1
    assert data[0][0].tolist() == [7, 7, 7], "grayscale is repeated to three channels"
    assert data[0][1] == 2


def test_images_under_a_label_are_spread_over_those_there_are() -> None:
    found = LabelPlan(3, {2: 0}, {1: 1}, ("x", "b", "a"), ("x", "b", "c"))
    data = SwapDataset(NoImages(closed=False), [0, 1, 0, 0, 0, 2, 0, 0], found)  # label 2: items 0, 2, 3, 4, 6, 7
    assert data.images_of(2, 3).tolist() == [0, 3, 6]
    assert data.images_of(2, 100).tolist() == [0, 2, 3, 4, 6, 7]
    assert data.images_of(1, 1).tolist() == [1]


OTHERS = DataClasses(("a", "b", "c", "d", "e"), (5, 5, 5, 5, 5))


def propagated(num_classes: int, recorded: list[str] | None = None, **section: Any) -> LabelPlan:
    settings = parse_settings({"method": "bn_propagation", **section})
    return resolve_labels(settings, num_classes, OTHERS, recorded, num_before=3)


def test_added_classes_have_labels_behind_the_others() -> None:
    plan = propagated(5, ["a", "b", "c"], add=["e", 3])
    assert plan.names == ("a", "b", "c", "e", "d")
    assert dict(plan.slots) == {3: 4, 4: 3}
    assert plan.kept == {0: 0, 1: 1, 2: 2}
    assert plan.class_to_label == {0: 0, 1: 1, 2: 2, 4: 3, 3: 4}
    assert plan.live == (0, 1, 2, 3, 4)


def test_a_new_set_of_labels_keeps_what_it_names() -> None:
    plan = propagated(3, ["a", "b", "c"], classes=["e", "c", "d"])
    assert (plan.names, plan.names_before) == (("e", "c", "d"), ("a", "b", "c"))
    assert dict(plan.slots) == {0: 4, 2: 3}
    assert plan.kept == {1: 2}
    assert dict(plan.remaining) == {1: 2}
    moved = propagated(2, ["a", "b", "c"], classes=["e", "d"])
    assert (moved.kept, dict(moved.remaining), moved.live) == ({}, {}, (0, 1))


@pytest.mark.parametrize(
    ("num_classes", "section", "sentence"),
    [
        (4, {"add": ["d", "e"]}, r"^RCAS.add: that makes 5 labels, and DATA.num_classes is 4; set it to 5"),
        (4, {"classes": ["d", "e"]}, r"^RCAS.classes: that makes 2 labels, and DATA.num_classes is 4; set it to 2"),
        (5, {"swap": {"a": "d"}}, r"^-ckpt: that makes 3 labels, and DATA.num_classes is 5; set it to 3"),
        (4, {"add": ["z"]}, r"^RCAS.add: the new class 'z' has no images"),
        (5, {"add": ["d", "d"]}, r"^RCAS.add: the same new class is named for two slots"),
        (2, {"classes": ["d", "z"]}, r"^RCAS.classes: the new class 'z' has no images"),
        (2, {"classes": ["a", "b"]}, r"^RCAS.classes: no class is new; .* list in RCAS.labels those that it was"),
    ],
)
def test_other_labels_that_do_not_fit(num_classes: int, section: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RcasError, match=sentence):
        propagated(num_classes, ["a", "b", "c"], **section)


def test_a_new_class_of_few_images_is_drawn_as_often_as_the_others() -> None:
    assert repeat_factors({0: 60, 1: 40, 2: 10, 3: 49}, {2, 3}) == {0: 1, 1: 1, 2: 5, 3: 1}
    assert repeat_factors({0: 7, 1: 21}, {0, 1}) == {0: 2, 1: 1}, (
        "without remaining labels the new ones are held to their own mean"
    )
    plan = LabelPlan(3, {2: 2}, {0: 0, 1: 1}, ("a", "b", "new"), ("a", "b", "c"))
    targets = [0, 0, 0, 0, 1, 1, 1, 1, 2]
    data = SwapDataset(NoImages(closed=False), targets, plan, balance=True)
    assert data.labels == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
    assert data.items[8:] == [8, 8, 8, 8]
    assert len(data.images_of(2, 10)) == 1, "each image once"
    assert SwapDataset(NoImages(closed=False), targets, plan, balance=True, share=0.5).labels.count(2) == 8, "half of all"
    assert SwapDataset(NoImages(closed=True), targets, plan).labels.count(2) == 1


def test_new_classes_have_their_share_of_what_is_drawn() -> None:
    # 100 images of the others: three quarters for two new classes are 150 for each
    assert repeat_factors({0: 60, 1: 40, 2: 10, 3: 2}, {2, 3}, 0.75) == {0: 1, 1: 1, 2: 15, 3: 75}
    assert repeat_factors({0: 60, 1: 40, 2: 10, 3: 2}, {2, 3}, 0.25) == {0: 1, 1: 1, 2: 5, 3: 25}, "each as often as the others"
    assert repeat_factors({0: 60, 1: 40, 2: 10}, {2}, 0.75) == {0: 1, 1: 1, 2: 30}
    assert repeat_factors({0: 7, 1: 21}, {0, 1}, 0.5) == {0: 2, 1: 1}, "nothing remains to share with"
    plan = LabelPlan(4, {2: 2}, {0: 0, 1: 1, 3: 3}, ("a", "b", "new", "d"), ("a", "b", "c", "d"))
    assert plan.drawn() == (0, 1, 2, 3)
    assert sorted(plan.drawn(0.5)) == [0, 1, 2, 2, 2, 3]
    assert sorted(plan.drawn(0.75)) == [0, 1, *[2] * 9, 3]
    two = LabelPlan(5, {1: 1, 2: 2}, {0: 0, 3: 3, 4: 4}, tuple("abcde"), tuple("avwde"))
    drawn = two.drawn(0.4)
    assert drawn == (0, 1, 2, 3, 4), "two fifths for two of five labels: each as often as any other"
    assert two.drawn(0.25) == (0, 1, 2, 3, 4), "and not less"
    assert sorted(two.drawn(0.5)) == [0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 4, 4]
    assert LabelPlan(2, {0: 0, 1: 1}, {}, ("a", "b"), ("c", "d")).drawn(0.5) == (0, 1)
    many = LabelPlan(4, {1: 1, 2: 2, 3: 3}, {0: 0}, tuple("avwx"), tuple("abcd"))
    assert many.drawn(0.5) == (0, 1, 2, 3), "three of four have more than half as it is"
    assert sorted(many.drawn(0.5, exactly=True)) == [0, 0, 0, 1, 2, 3], "no more than half"
    assert many.drawn(0.0, exactly=True) == (0, 1, 2, 3)
