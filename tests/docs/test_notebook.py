"""The notebook runs as it stands, from its first cell to its last."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "docs" / "tutorials" / "first_distillation.ipynb"


@pytest.mark.slow
def test_the_first_distillation_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[2] / "src"), os.environ.get("PYTHONPATH", "")])
    )
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code" and cell.outputs}
    shown = [output.data for cell in outputs.values() for output in cell if "data" in output]
    assert any("<table>" in data.get("text/html", "") and "Squares" in data["text/html"] for data in shown)
    assert any("image/png" in data for data in shown)  # the grid
    assert any("data:image/png" in data.get("text/html", "") for data in shown)  # the prediction
