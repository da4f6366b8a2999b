"""Data sets at random: each pixel has the class that was meant; damaged ones are read rightly or refused by name."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from damaged_folders import DAMAGES, outcome
from folder_truth import mistakes
from hypothesis import event, given, settings
from hypothesis import strategies as st
from random_folders import FORMS, Form, make

FEW = settings(max_examples=40, deadline=None, database=None, derandomize=True)
"""`benchmarks/labels.py` runs thousands."""


@given(FORMS)
@FEW
def test_every_accepted_form_is_read_as_it_was_meant(form: Form) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert mistakes(make(form, Path(folder))) == []


@given(FORMS, st.sampled_from(sorted(DAMAGES)))
@FEW
def test_a_damaged_data_set_is_read_rightly_or_refused_by_name(form: Form, damage: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        what, wrong = outcome(make(form, Path(folder)), DAMAGES[damage], np.random.default_rng(form.seed))
        event(f"{damage}: {what}")
        assert wrong == ""
