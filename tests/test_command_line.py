"""One grammar in every verb: `key=value` and `--flag`, help that fits a terminal, words that a shell completes."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from benchmarks import keys_page
from segdistill.cli.completion import complete_name, complete_word
from segdistill.cli.main import app
from segdistill.core.errors import RecipeError
from segdistill.recipe.composition import compose
from segdistill.recipe.recipe import load_recipe

VERBS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
WHOLE = ("train", "distill", "compare", "doctor", "recipe")
"""Verbs whose words are a whole recipe."""


def invoke(*words: str) -> Any:
    return CliRunner().invoke(app, words, env={"COLUMNS": "80"})


@pytest.mark.parametrize("verb", [None, *VERBS])
def test_help_fits_eighty_columns_and_cuts_no_word(verb: str | None) -> None:
    done = invoke(*([verb] if verb else []), "--help")
    assert done.exit_code == 0, done.output
    assert all(len(line) <= 80 for line in done.output.splitlines()), done.output
    assert re.match(rf"Usage: \w+ {verb or ''}", done.output), done.output  # typer's runner calls the program root
    assert "..." not in re.sub(r"\[?[A-Z]+\]?\.\.\.|=\.\.\.", "", done.output)
    if verb is None:
        assert all(f"  {name} " in done.output for name in VERBS)
    else:
        described = VERBS[verb].own_keys()
        assert all(f"  {key}=" in done.output and text for key, (text, _) in described.items()), done.output


@pytest.mark.parametrize("verb", VERBS)
def test_the_examples_of_help_parse(verb: str) -> None:
    shown = re.findall(r"^  (segdistill .*)$", invoke(verb, "--help").output, re.MULTILINE)
    assert shown
    for line in shown:
        program, called, *words = shlex.split(line.partition(" > ")[0])
        assert (program, called) == ("segdistill", verb)
        given = VERBS[verb].make_context(verb, words).params
        if verb in WHOLE and not given["parts"][0].startswith("runs/"):
            verb_keys = VERBS[verb].own_keys()
            load_recipe(*(word for word in given["parts"] if word.partition("=")[0] not in verb_keys))


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["predict", "run", "photo.jpg", "--out", "masks"], "out=masks in the place of --out masks"),
        (["predict", "run", "photo.jpg", "--alpha=0.7"], "alpha=0.7 in the place of --alpha 0.7"),
        (["predict", "run", "photo.jpg", "--set", "inference.flip=true"], "without --set: inference.flip=true"),
        (["compare", "streets", "--methods", "kd,cwd"], "methods=kd,cwd in the place of --methods kd,cwd"),
        (["compare", "s", "--methods", "a={name: kd}"], "methods='a={name: kd}' in the place of"),
        (["show", "run", "--class", "car"], "class=car in the place of --class car"),
        (["distill", "streets", "--nproc", "4"], "nproc=4 in the place of --nproc 4"),
        (["train", "streets", "--steps", "3"], "steps=3 in the place of --steps 3"),
        (["train", "streets", "--batch-size=3"], "batch_size=3 in the place of --batch-size 3"),
        (["train", "streets", "resume=true"], "resume is a switch, written --resume"),
        (["convert", "run", "out=x.pth", "layout=cirkd"], "OUT stands alone: segdistill convert FILE OUT [VALUES...]"),
        (["convert", "run", "--out", "x.pth"], "'--out': OUT stands alone"),
        (["publish", "run", "name=user/x"], "NAME stands alone: segdistill publish RUN NAME [VALUES...]"),
        (["evaluate", "run", "weights=x"], "WEIGHTS stands alone: segdistill evaluate WEIGHTS [WORDS...]"),
        (["profile", "nowhere", "network={mean: [0, 0, 0]}"], "'network' describes a network of another library"),
        (["prepare", "camvid", "root=x", "quiet=true"], "'quiet' is not an option of a data set, found quiet=True"),
        (["prepare", "camvid", "root=x", "root.sub=1"], "'root' is not an option of a data set"),
        (["prepare", "camvid", "root=x", "name=voc"], "Key 'name': the data set is 'camvid', found 'voc'"),
        (["prepare", "camvid", "root=x", "decoded=1.5"], "Key 'data.decoded': Input should be a path"),
        (["export", "run", "frmat=onnx"], "Unknown key 'frmat'. Did you mean 'format'?"),
        (["benchmark", "run", "thread=1"], "Unknown key 'thread'. Did you mean 'threads'?"),
        (["demo", "run", "prot=1"], "Unknown key 'prot'. Did you mean 'port'?"),
        (["inspect", "x.pth", "role=teacher"], "Unknown key 'role'"),
        (["inspect", "x.pth", "more"], "'more' is not key=value"),
        (["evaluate", "run", "split=validation"], "Key 'split': Input should be 'train', 'val' or 'test'"),
        (["predict", "run", "photo.jpg", "alpha=2"], "Key 'alpha': Input should be less than or equal to 1"),
        (["doctor", "streets", "images=some"], "Key 'images': Input should be a whole number"),
    ],
)
def test_other_forms_are_answered_with_the_one_form(words: Sequence[str], answer: str) -> None:
    done = invoke(*words)
    assert done.exit_code != 0
    assert isinstance(done.exception, RecipeError), done.output
    assert answer in str(done.exception)


def completed(line: str, shell: str = "bash") -> str:
    """What the shell's verb_keys request prints."""
    words = line.split(" ")
    environment = {
        **os.environ,
        "_SEGDISTILL_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    program = (
        "import sys; sys.argv = ['segdistill']\nfrom segdistill.cli.main import app\n"
        "try:\n    app(prog_name='segdistill')\n"
        "finally:\n    assert 'torch' not in sys.modules, 'torch'"
    )
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert "assert" not in done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_verbs_names_and_keys_without_torch(shell: str) -> None:
    assert "distill" in completed("segdistill dist", shell)
    assert "mobile_pair" in completed("segdistill distill camvid mob", shell)
    if shell == "bash":
        assert "optimizer.lr=" in completed("segdistill distill camvid optimizer.l", shell)


def test_words_are_completed_by_what_they_are() -> None:
    assert dict(complete_word("optimizer.lr"))["optimizer.lr="].startswith("The learning rate")
    precisions = [word for word, _ in complete_word("precision=")]
    assert precisions == ["precision=auto", "precision=fp32", "precision=bf16", "precision=fp16"]
    assert {word for word, _ in complete_word("method.kd.te")} == {"method.kd.temperature="}
    assert {"camvid", "cwd", "cwd_by_cirkd"} <= {word for word, _ in complete_word("c")}


def test_what_is_completed_is_taken() -> None:
    names = [word for word, _ in complete_word("") if not word.endswith("=")]
    assert "network:mobilenetv2_pspnet" in names
    assert all(compose(name) for name in names)
    keys = [word for word, _ in complete_word("") if word.endswith("=")]
    assert [key for key in keys if key.startswith("method.schedule") or "auxiliary_heads." in key] == []
    refused = []
    for word in [word for key in keys for word, _ in complete_word(key) if not key.startswith("data.")]:
        method = word.split(".")[1:2] if word.startswith("method.") else []
        try:
            load_recipe("streets", "tiny_pair", *method, word)
        except RecipeError:
            refused.append(word)
    assert refused == ["student.name=null", "teacher.cache_flip=true", "inference.mode=slide"]  # need one more key


def test_explain_completes_keys_of_methods_and_bare_networks() -> None:
    completed_names = {name for name, _ in complete_name("")}
    assert {"method.schedule.decay", "mobilenetv2_pspnet"} <= completed_names


def test_page_and_list_of_keys_are_what_their_script_makes() -> None:
    root = Path(keys_page.__file__).parents[1]
    assert keys_page.PAGE.read_text(encoding="utf-8") == keys_page.page(), "run python benchmarks/keys_page.py"
    assert keys_page.WORDS.read_text(encoding="utf-8") == keys_page.words(), "run python benchmarks/keys_page.py"
    assert "reference" in (root / "docs" / "index.md").read_text(encoding="utf-8")


def test_a_recipe_and_an_explanation_are_printed() -> None:
    shown = invoke("recipe", "camvid", "mobile_pair", "kd", "steps=7").output
    assert re.search(r"camvid +data +recipe/library/data/camvid\.yaml", shown)
    assert re.search(r"^steps: 7  # 'steps=7'", shown, re.MULTILINE), shown
    assert "--all shows them" in shown
    explained = invoke("explain", "lr").output
    assert "optimizer.lr (key)" in explained
    assert "a number, above 0" in explained
    assert invoke("recipe", "streets", "stepz=3").exit_code == 1


@pytest.mark.parametrize(
    ("word", "path", "value"),
    [
        ("steps=.nan", "steps", None),
        ("optimizer.lr=.inf", "optimizer.lr", None),
        ("data.values={2024-01-01: 1}", "data.values", {"2024-01-01": 1}),
    ],
)
def test_json_is_strict_whatever_a_word_holds(word: str, path: str, value: Any) -> None:
    done = invoke("recipe", "streets", "tiny_pair", word, "--json")
    printed = json.loads(done.stdout, parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))
    assert printed["keys"][path]["value"] == value
    assert printed["problems"]
    assert done.exit_code == 1


def test_ctrl_c_while_the_program_is_imported_is_no_traceback() -> None:
    program = (
        "import os, runpy, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background ignores it
        "class Interrupting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'pydantic':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "sys.argv = ['segdistill', 'list']\n"
        "runpy.run_module('segdistill', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Stopped.\n")
