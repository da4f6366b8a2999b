"""What the words of a recipe are, and values as people type them."""

from __future__ import annotations

from pathlib import Path

import pytest

from segdistill.core.errors import RecipeError
from segdistill.core.safe_yaml import load_word, load_yaml
from segdistill.recipe.composition import compose
from segdistill.recipe.recipe import load_recipe
from segdistill.recipe.words import Fragment, library, read_word


@pytest.mark.parametrize("words", [["kd", "streets", "kd"], ["streets", "cirkd_published", "kd"], ["kd", "method:kd"]])
def test_a_method_that_is_named_twice_is_refused(words: list[str]) -> None:
    with pytest.raises(RecipeError, match=r"The method 'kd' is named twice: by .*, and before it by .*method\.kd\."):
        load_recipe(*words)
    with pytest.raises(RecipeError, match="'kd' is named twice with the same options"):
        load_recipe("streets", "method=[kd, kd]")
    assert [method.name for method in load_recipe("streets", "cwd_by_cirkd").method].count("cwd") == 2


@pytest.mark.parametrize(
    ("word", "kind", "source"),
    [
        ("streets", "data", "fragment 'streets'"),
        ("data:streets", "data", "fragment 'streets'"),
        ("method:kd", "method", "method 'kd'"),
        ("preset:short", "preset", "fragment 'short'"),
        ("preset=short", "preset", "fragment 'short'"),
        ("pair:tiny_pair", "pair", "fragment 'tiny_pair'"),
        ("row:bpkd/cityscapes/pspnet_r18/bpkd", "row", "row 'bpkd/cityscapes/pspnet_r18/bpkd'"),
        ("network:mobilenetv2_pspnet", "network", "network 'mobilenetv2_pspnet'"),
    ],
)
def test_a_word_may_have_its_kind_before_it(word: str, kind: str, source: str) -> None:
    read = read_word(word)
    assert (read.kind, read.source) == (kind, source)
    assert (Path("src/segdistill") / read.file).is_file()


def test_the_kind_makes_no_difference() -> None:
    plain = load_recipe("camvid", "mobile_pair", "kd", "preset=short")
    assert load_recipe("data:camvid", "pair:mobile_pair", "method:kd", "preset:short") == plain
    row = "cirkd/camvid/deeplabv3_r18/cirkd"
    assert load_recipe(f"row:{row}", "data.root=/x") == load_recipe(row, "data.root=/x")
    student = load_recipe("streets", "network:mobilenetv2_pspnet").student
    assert student == load_recipe("streets", "student=mobilenetv2_pspnet").student


def test_a_name_of_two_kinds_needs_its_kind_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(library(), "kd", Fragment("kd", "preset", "steps: 7"))
    with pytest.raises(RecipeError, match="Say which is meant: method:kd or preset:kd"):
        compose("kd")
    assert compose("preset:kd")[0] == {"steps": 7}
    assert compose("method:kd")[0] == {"method": ["kd"]}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["preset:shrt"], "No preset is called 'shrt'. Did you mean 'short'?"),
        (["data:kd"], "No data is called 'kd'."),
        (["mobilenetv2_pspnet"], "is a network. As the student it is network:mobilenetv2_pspnet"),
        (["method:camvid"], "No method is called 'camvid'."),
    ],
)
def test_a_wrong_kind_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message.replace("?", r"\?")):
        load_recipe(*words)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{0:0,255:1}", {0: 0, 255: 1}),
        ("{7:road, 8: car,9:null}", {7: "road", 8: "car", 9: None}),
        ("{'a:b': null}", {"a:b": None}),
        ("[no,yes,off,on]", ["no", "yes", "off", "on"]),
        ("[true,FALSE]", [True, False]),
        ("off", "off"),
        ("{0:0,0:1}", {"0:0": None, "0:1": None}),
    ],
)
def test_values_are_what_people_mean(text: str, value: object) -> None:
    assert load_word(text) == value


def test_a_template_is_text_without_quotes_of_its_own() -> None:
    words = "data.root=.", "data.images={split}/images/{name}", "data.masks={split}"
    kept = load_recipe("folder", *words).data.model_dump()
    assert (kept["images"], kept["masks"]) == ("{split}/images/{name}", "{split}")


def test_words_for_yes_and_no_are_still_truth_values_of_switches() -> None:
    assert load_yaml("no") == "no"
    recipe = load_recipe("streets", "augment.flip=no", "inference.flip=yes", "teacher.cache=off")
    assert (recipe.augment.flip, recipe.inference.flip, recipe.teacher.cache) == (False, True, "off")


def test_a_size_is_height_x_width() -> None:
    recipe = load_recipe(
        "streets", "augment.crop=64x96", "data.size=32x48", "inference.fit=512x1024", "augment.base_size=[40,30]"
    )
    assert recipe.augment.crop == (64, 96)
    assert recipe.inference.fit == (512, 1024)
    assert recipe.augment.base_size == (40, 30)
    with pytest.raises(RecipeError, match=r"'augment\.crop': expected HEIGHTxWIDTH in pixels, as 512x1024, found 512"):
        load_recipe("streets", "augment.crop=512")


def test_a_home_folder_is_found_in_every_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.yaml").write_text("steps: 7")
    words = (
        "teacher.cache_folder=~/c",
        "out=~/run",
        "data.extra=~/more",
        "teacher.weights=~/w",
        "teacher.class_map=~/m",
    )
    recipe = load_recipe("streets", "~/mine.yaml", *words)
    assert recipe.steps == 7
    assert (recipe.teacher.cache_folder, recipe.out) == (tmp_path / "c", tmp_path / "run")
    assert recipe.teacher.class_map == tmp_path / "m"
    assert recipe.data.extra is not None
    assert recipe.data.extra.images == (tmp_path / "more",)


def test_a_wrong_value_of_several_types_is_one_plain_line() -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("streets", "kd", "method.kd.share=loud")
    assert str(caught.value) == (
        "Key 'method.kd.share': Input should be a number, or should be 'auto', found 'loud'. (set in "
        "'method.kd.share=loud')"
    )


@pytest.mark.parametrize(
    ("words", "steps"),
    [
        (["mobile_pair", "steps=5"], 5),
        (["steps=5", "mobile_pair"], 2000),
        (["mobile_pair", "teacher.train.steps=7", "steps=5"], 5),
        (["mobile_pair", "steps=5", "teacher.train.steps=7"], 7),
        (["mobile_pair", "steps=5", "preset=medium"], 6000),
    ],
)
def test_words_after_a_pair_mean_the_teacher_where_that_is_trained(words: list[str], steps: int) -> None:
    assert load_recipe("camvid", *words, "role=teacher").teacher_training().steps == steps
    alone = load_recipe("camvid", *words)
    assert alone.teacher_training().steps == (steps if steps != 5 else alone.teacher.train["steps"])


def test_keyword_arguments_mean_the_teacher_as_words_do() -> None:
    recipe = load_recipe("camvid", "mobile_pair", role="teacher", steps=5, **{"teacher.train.optimizer.lr": 0.5})
    assert (recipe.teacher_training().steps, recipe.teacher_training().optimizer.lr) == (5, 0.5)
    rates = load_recipe(
        "camvid", "mobile_pair", "teacher.train.optimizer.lr=0.5", "optimizer={lr: 0.1}", role="teacher"
    )
    assert rates.teacher_training().optimizer.lr == 0.1


def test_an_optimizer_of_another_name_is_the_teachers_with_all_that_it_says() -> None:
    words = ("streets", "modern_pair", "optimizer={name: sgd, lr: 0.02, momentum: 0.9}")
    optimizer = load_recipe(*words, "role=teacher").teacher_training().optimizer
    assert optimizer == load_recipe(*words).optimizer
    later = load_recipe(*words, "teacher.train.optimizer.lr=0.5", "role=teacher").teacher_training().optimizer
    assert (later.name, later.lr, later.weight_decay) == ("sgd", 0.5, optimizer.weight_decay)


def test_a_teacher_that_is_named_by_itself_keeps_the_training_of_its_pair() -> None:
    name = "mobilenetv2_pspnet"
    for recipe in (
        load_recipe("streets", "tiny_pair", f"teacher={name}"),
        load_recipe("streets", "tiny_pair", teacher=name),
    ):
        assert recipe.teacher.network is not None
        assert (recipe.teacher.network.head, recipe.teacher_training().steps) == ("pspnet", 600)
    words = ("streets", "tiny_pair", "role=teacher", f"teacher={name}", "steps=5")
    assert load_recipe(*words).teacher_training().steps == 5
