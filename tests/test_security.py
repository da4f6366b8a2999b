"""Files of strangers: recipes are data, YAML of absurd size is refused, folders of weights run nothing.

docs/security.md names the test that shows each of its claims; the last test here checks that there is one.
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

import segdistill
from segdistill.core.errors import CheckpointError, DataError, RecipeError, SegdistillError
from segdistill.core.safe_yaml import MOST_CHARACTERS, load_yaml
from segdistill.models.checkpoints.reading import read_file
from segdistill.recipe.composition import compose

NETWORK = "student={backbone: mobilenetv2_035, head: fcn, channels: 8}"
LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 10)
)
MERGES = "a0: &a0 {k: 1}\n" + "".join(
    f"a{level}: &a{level} {{<<: [{', '.join([f'*a{level - 1}'] * 10)}]}}\n" for level in range(1, 10)
)

ABSURD = {
    "laughs": (LAUGHS, "aliases unfold to more than"),
    "merges": (MERGES, "aliases unfold to more than"),
    "itself": ("steps: &a [*a]\n", "refers to what it is part of"),
    "deep": ("steps: " + "[" * 100_000, "nested more than"),
    "deep blocks": ("".join(" " * level + "a:\n" for level in range(900)), "nested more than"),
    "long": ("steps: 5 #" + "x" * MOST_CHARACTERS, "characters"),
    "longer": ("steps: 5 #" + "x" * 5 * MOST_CHARACTERS, "bytes"),
    "date": ("steps: 2024-13-45\n", "month"),
    "no truth": ("steps: !!bool perhaps\n", "does not fit its tag"),
    "no number": ("steps: !!int ''\n", "does not fit its tag"),
    "digits": ("steps: " + "9" * 5000, "digits"),
}


@pytest.mark.parametrize("kind", ABSURD)
def test_absurd_yaml_is_refused_wherever_it_is_read(kind: str, tmp_path: Path) -> None:
    text, reason = ABSURD[kind]
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(RecipeError, match=rf"mine\.yaml is not valid YAML.*{reason}"):
        segdistill.train(str(file), out=tmp_path / "run", quiet=True)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for place in range(4):
            Image.new("L", (8, 8)).save(tmp_path / folder / f"{place}.png")
    with pytest.raises(DataError, match=reason):
        segdistill.train("folder", NETWORK, f"data.root={tmp_path}", f"data.classes={file}", out=tmp_path / "run")
    save_file({"a": torch.zeros(1)}, tmp_path / "mine.safetensors")
    with pytest.raises(CheckpointError, match=reason):
        segdistill.load_model(tmp_path / "mine.safetensors")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", [kind for kind in ABSURD if "\n" not in ABSURD[kind][0]])
def test_absurd_values_on_the_command_line_are_refused(kind: str) -> None:
    with pytest.raises(RecipeError) as caught:
        compose(f"steps={ABSURD[kind][0].removeprefix('steps: ')}")
    assert len(str(caught.value)) < 500


def test_ordinary_aliases_mean_what_they_mean_in_yaml() -> None:
    text = "base: &base {lr: 0.1, names: [a, b]}\nmine: {<<: *base, lr: 0.2}\nagain: *base\nday: 2024-02-29\n"
    assert load_yaml(text) == yaml.safe_load(text)
    assert load_yaml("") is None


def test_a_tag_of_python_makes_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "owned"
    (tmp_path / "mine.yaml").write_text(f"steps: !!python/object/apply:pathlib.Path.touch [{mark}]\n")
    with pytest.raises(RecipeError, match="not valid YAML"):
        compose(str(tmp_path / "mine.yaml"))
    assert not mark.exists()


WORDS = ["${HOME}/x", "$HOME/x", "$(id)"]
NO_WORDS = ["%(HOME)s/x", "{{HOME}}", "`id`", "!ENV ${HOME}"]
"""What a file can hold in quotes and a word of the command line, which is YAML without quotes, can't."""


@pytest.mark.parametrize("text", [*WORDS, *NO_WORDS])
def test_nothing_in_a_recipe_is_expanded(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/secret")
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"data": {"root": text}}))
    composed, _ = compose(str(tmp_path / "mine.yaml"))
    assert composed == {"data": {"root": text}}


@pytest.mark.parametrize("text", WORDS)
def test_nothing_in_a_word_is_expanded(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/secret")
    composed, _ = compose(f"data.root={text}")
    assert composed == {"data": {"root": text}}


@pytest.mark.parametrize("text", NO_WORDS)
def test_a_word_that_is_no_yaml_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="is not a YAML value"):
        compose(f"data.root={text}")


def test_a_hugging_face_folder_with_code_of_its_own_runs_none_of_it(tmp_path: Path) -> None:
    mark = tmp_path / "owned"
    code = f"import pathlib\npathlib.Path({str(mark)!r}).touch()\nclass Config: pass\nclass Model: pass\n"
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "modeling_evil.py").write_text(code)
    names = {"AutoConfig": "modeling_evil.Config", "AutoModelForSemanticSegmentation": "modeling_evil.Model"}
    config = {"model_type": "evil", "auto_map": names, "architectures": ["Model"], "trust_remote_code": True}
    (tmp_path / "evil" / "config.json").write_text(json.dumps(config))
    save_file({"a": torch.zeros(1)}, tmp_path / "evil" / "model.safetensors")
    with pytest.raises(SegdistillError):
        segdistill.load_model(f"hf:{tmp_path / 'evil'}")
    with pytest.raises(SegdistillError):
        segdistill.load_model(tmp_path / "evil")
    assert not mark.exists()


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/secret.safetensors", "a\\b.safetensors"])
def test_shards_outside_of_a_folder_are_not_read(name: str, tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    save_file({"a": torch.zeros(1)}, tmp_path / "secret.safetensors")
    (tmp_path / "net" / "config.json").write_text("{}")
    index = tmp_path / "net" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(CheckpointError, match="names the shard"):
        read_file(tmp_path / "net")


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "[]", '{"id2label": {"x": "y"}}'])
def test_a_config_that_is_none_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        read_file(tmp_path)


def test_each_claim_of_the_page_names_a_test_that_exists() -> None:
    root = Path(__file__).parents[1]
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (root / "docs" / "security.md").read_text(encoding="utf-8"))
    assert len(named) > 10
    for file, test in named:
        tree = ast.parse((root / file).read_text(encoding="utf-8"))
        assert test in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, f"{file}::{test}"
