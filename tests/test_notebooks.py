"""Running notebooks: strict parameters, nothing half-written, nothing run twice; and what the stored ones must hold."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from published_figures import DRAWS
from report_records import NEEDS_TORCH, data_record, write_run

from meddef import cli
from meddef.book import build, notebooks
from meddef.book.notebooks import NotebooksFailed, imported_files, run_notebooks
from meddef.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
STORED = [ROOT / "notebooks" / f"{name}.ipynb" for name in notebooks.SECTIONS.values()]
DEFAULTS = 'profile = "smoke"\nresults_dir = "../results"\n'


def make_notebook(path: Path, *code: str, tags: tuple[str, ...] = ()) -> Path:
    """A notebook with the usual parameters cell and cells of ``code``."""
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    first = nbformat.v4.new_code_cell(DEFAULTS, metadata={"tags": ["parameters"]})
    notebook.cells = [
        first,
        *(nbformat.v4.new_code_cell(text, metadata={"tags": list(tags)}) for text in code),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project of two tiny notebooks and one stored profile."""
    (tmp_path / "_config.yml").write_text("title: test\n")
    make_notebook(tmp_path / "notebooks" / "01_data.ipynb", "print(profile, 6 * 7)")
    make_notebook(
        tmp_path / "notebooks" / "05_epsilon.ipynb", "done = 1", "raise RuntimeError('no such thing')"
    )
    write_run(tmp_path / "results", "smoke", [data_record("phantom_oct")])
    return tmp_path


def run(root: Path, *sections: str, **parameters: object) -> list[Path]:
    sources = {"smoke": root / "results"}
    return run_notebooks(sources, root=root, sections={"smoke": sections}, parameters=parameters)


def test_up_to_date_is_skipped_and_said_until_something_changes(
    root: Path, capsys: pytest.CaptureFixture
) -> None:
    (output,) = run(root, "data")
    assert "done" in capsys.readouterr().out
    text = output.read_text()
    assert "smoke 42" in text
    assert str(root) not in text  # neither paths nor times of this machine
    assert "papermill" not in text
    before = output.stat().st_mtime_ns

    run(root, "data")
    assert "smoke/01_data: up to date" in capsys.readouterr().out
    assert output.stat().st_mtime_ns == before

    records = root / "results" / "smoke" / "records.jsonl"
    records.write_text(records.read_text().replace(": ", ":  ", 1))
    run(root, "data")
    assert "done" in capsys.readouterr().out


@pytest.mark.fault(
    "the output of an executed notebook is edited, or its file is cut",
    "its metadata hold its checksum; it is run again, and the book refuses to take it as it is",
    says="is not what its run left",
)
def test_an_edited_output_is_not_believed(root: Path, says: str) -> None:
    (output,) = run(root, "data")
    whole = output.read_text()
    notebooks.check_executed(output)
    edited = whole.replace("smoke 42", "smoke 43")
    for text in (whole[:-300], "[]", "", whole.replace('"sha256": "', '"sha256": "0'), edited):
        output.write_text(text)
        with pytest.raises(InputError, match=says):
            notebooks.check_executed(output)
    run(root, "data")
    assert output.read_text() == whole


def test_failing_notebook_keeps_its_partial_output_and_the_last_good_one(root: Path) -> None:
    good = root / "book" / "notebooks" / "smoke" / "05_epsilon.ipynb"
    good.parent.mkdir(parents=True)
    good.write_text("{}")
    with pytest.raises(NotebooksFailed, match=r"05_epsilon.ipynb: no such thing .*05_epsilon.failed.ipynb"):
        run(root, "data", "epsilon")
    assert good.read_text() == "{}"
    assert (good.parent / "01_data.ipynb").is_file()  # the others are finished
    partial = nbformat.read(good.with_suffix(".failed.ipynb"), 4)
    assert [cell.execution_count for cell in partial.cells if cell.source == "done = 1"] == [3]
    assert not list(good.parent.glob("*.partial.ipynb"))


def test_a_kernel_that_dies_is_a_failure(root: Path) -> None:
    """papermill marks the cell of a dead kernel as completed."""
    make_notebook(root / "notebooks" / "01_data.ipynb", "import os; os._exit(3)")
    with pytest.raises(NotebooksFailed, match=r"01_data.ipynb: .*died"):
        run(root, "data")
    folder = root / "book" / "notebooks" / "smoke"
    assert [path.name for path in folder.iterdir()] == ["01_data.failed.ipynb"]


@pytest.mark.fault(
    "the kernel of a notebook dies at its start, or is not installed",
    "one line names the notebook; the other notebooks are run and kept",
    says="kernel",
)
@pytest.mark.parametrize("kernel", ["dies", "none"])
def test_a_kernel_that_does_not_start_is_that_notebooks_failure(
    root: Path, monkeypatch: pytest.MonkeyPatch, kernel: str, says: str
) -> None:
    there = root / "jupyter" / "kernels" / "dies" / "kernel.json"
    there.parent.mkdir(parents=True)
    command = [sys.executable, "-c", "import sys; sys.exit(3)", "{connection_file}"]
    there.write_text(json.dumps({"argv": command, "display_name": "dies", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(root / "jupyter"))
    bad = root / "notebooks" / "05_epsilon.ipynb"
    notebook = nbformat.read(bad, 4)
    notebook.metadata["kernelspec"]["name"] = kernel
    nbformat.write(notebook, bad)
    with pytest.raises(NotebooksFailed, match=rf"^05_epsilon.ipynb: .*(?i:{says})") as failed:
        run(root, "data", "epsilon")
    assert "\n" not in str(failed.value)
    folder = root / "book" / "notebooks" / "smoke"
    assert "smoke 42" in (folder / "01_data.ipynb").read_text()
    assert not (folder / "05_epsilon.ipynb").exists()


@pytest.mark.fault(
    "`meddef book` is started while another one, or the end of `reproduce`, builds the same book",
    "the second is refused",
    says="another command builds the book",
)
def test_two_books_at_once_are_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], says: str
) -> None:
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, "argv", ["meddef", "book"])
    with build.one_at_a_time(root.resolve()), pytest.raises(SystemExit, match="2"):
        cli.main()
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    with pytest.raises(InputError, match=says), build.one_at_a_time(root):
        build.build_report(root / "results", "smoke", root=root)
    with build.one_at_a_time(root):  # it ends with its block
        pass


def test_meddef_book_exits_with_1_when_a_notebook_fails(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, "argv", ["meddef", "book", "--section", "epsilon"])
    with pytest.raises(SystemExit, match="1"):
        cli.main()
    assert "no such thing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda root: run(root, "data", epz=0.1),
            r"01_data.ipynb has no parameter 'epz': it declares profile, results_dir",
        ),
        (lambda root: run(root, "dta"), r"unknown section 'dta': use one of data, architecture"),
        (
            lambda root: run_notebooks({"cpu": root / "results"}, root=root, sections={"cpu": ["data"]}),
            r"records.jsonl: run 'meddef reproduce --profile cpu' first",
        ),
        (lambda root: run_notebooks({}, root=root / "book", sections={}), r"run this in a clone"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(call, message: str, root: Path) -> None:
    with pytest.raises(InputError, match=message):
        call(root)
    assert not (root / "book" / "notebooks").exists()


def test_key_changes_with_cells_parameters_records_and_imported_code(root: Path) -> None:
    source = make_notebook(root / "notebooks" / "02_architecture.ipynb", "from meddef.report import tables")
    files = [root / "results" / "smoke" / "records.jsonl"]
    keys = [notebooks._key(source, {}, files)]
    keys.append(notebooks._key(source, {"eps": 0.1}, files))
    make_notebook(source, "from meddef.report import tables_setup")
    keys.append(notebooks._key(source, {}, files))
    make_notebook(source, "from meddef.report import tables", tags=("hide",))
    keys.append(notebooks._key(source, {}, files))
    written = nbformat.read(source, as_version=4)
    written.cells[-1].metadata["mystnb"] = {"image": {"alt": "another text"}}
    source.write_text(nbformat.writes(written))
    keys.append(notebooks._key(source, {}, files))
    files[0].write_text("")
    keys.append(notebooks._key(source, {}, files))
    assert len(set(keys)) == len(keys)


def test_imported_files_follow_imports_and_take_the_papers_tables() -> None:
    found = {
        path.relative_to(ROOT / "meddef").as_posix()
        for path in imported_files("from meddef.report import tables")
    }
    assert {
        "report/tables.py",
        "statistics.py",
        "records.py",
        "paper/__init__.py",
        "paper/epsilon_table.csv",
    } <= found
    assert not any(name.startswith(("training", "attacks", "models")) for name in found)


def pytest_nbval(notebook: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "--nbval", "-q", "-p", "no:cacheprovider", notebook.name]
    environment = os.environ | {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    return subprocess.run(
        command, cwd=notebook.parent, capture_output=True, text=True, check=False, env=environment
    )


def test_nbval_catches_a_tampered_table_and_passes_the_honest_one(root: Path) -> None:
    code = "import pandas\nfrom meddef.report.display import Table\nTable(pandas.DataFrame({'n': ['879']}), 'images')"
    source = make_notebook(root / "notebooks" / "01_data.ipynb", code)
    notebooks.store_outputs(root=root, sections=["data"])
    honest = pytest_nbval(source)
    assert honest.returncode == 0, honest.stdout
    text = source.read_text()
    assert text.count("879") == 3  # source, text and HTML
    notebook = nbformat.read(source, 4)
    html = notebook.cells[1].outputs[0].data["text/html"]
    notebook.cells[1].outputs[0].data["text/html"] = html.replace("879", "878")
    nbformat.write(notebook, source)
    assert pytest_nbval(source).returncode == 1


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
class TestStoredNotebooks:
    def test_declares_the_parameters_and_computes_nothing_itself(self, path: Path) -> None:
        cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
        tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
        assert len(tagged) == 1
        assert tagged[0].source.startswith(DEFAULTS.strip())
        allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.Expr)
        logic = (ast.BinOp, ast.Lambda, ast.ListComp, ast.GeneratorExp, ast.Subscript, ast.IfExp, ast.Compare)
        for cell in cells:
            tree = ast.parse(cell.source)
            assert all(isinstance(statement, allowed) for statement in tree.body), cell.source
            assert not any(isinstance(node, logic) for node in ast.walk(tree)), cell.source

    def test_only_architecture_needs_torch(self, path: Path) -> None:
        """The others are shown to do without it in test_figures."""
        code = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
        imported = {
            f"{node.module}.{alias.name}"
            for node in ast.walk(ast.parse("\n".join(code)))
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        assert all(
            name.startswith(("meddef.claims.", "meddef.figures.", "meddef.report.")) for name in imported
        )
        assert imported & NEEDS_TORCH == (NEEDS_TORCH if path.stem == "02_architecture" else set())

    def test_only_figures_escape_the_comparison(self, path: Path) -> None:
        for cell in nbformat.read(path, 4).cells:
            ignored = "nbval-ignore-output" in cell.metadata.get("tags", [])
            draws = cell.cell_type == "code" and cell.source.startswith(DRAWS)
            assert ignored is draws, cell.source
            if draws:
                assert cell.metadata["mystnb"]["image"]["alt"]

    def test_holds_outputs_to_compare_with(self, path: Path) -> None:
        if not (ROOT / "results" / "smoke" / "records.jsonl").is_file():
            pytest.skip("results/smoke is not published yet")
        cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
        silent = [
            cell.source
            for cell in cells
            if not cell.outputs and "parameters" not in cell.metadata.get("tags", [])
        ]
        assert silent == []
        assert not [o for cell in cells for o in cell.outputs if o.output_type in ("stream", "error")]

    def test_says_how_to_run_it_again(self, path: Path) -> None:
        section = next(section for section, name in notebooks.SECTIONS.items() if name == path.stem)
        assert f'findings.rerun(run, "{section}")' in json.loads(path.read_text())["cells"][-3]["source"]
