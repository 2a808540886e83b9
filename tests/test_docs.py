"""Documents that must keep up with the code: the design's list of modules, the citation, the weekly workflow."""

import json
import re
import tomllib
from fnmatch import fnmatch

import yaml

from helpers import notebooks, places


def read(name):
    return (places.REPO / name).read_text(encoding="utf-8")


def test_the_design_names_every_module_and_none_that_is_gone():
    text = read("docs/design.md")
    table = text[text.index("## `helpers`, by subject") : text.index("## Tests")]
    patterns = {
        p for row in re.findall(r"^\|[^|]*\|([^|]*)\|$", table, re.MULTILINE) for p in re.findall(r"`([\w*]+)`", row)
    }
    modules = {path.stem for path in (places.REPO / "helpers").glob("*.py")} - {"__init__"}
    assert not {module for module in modules if not any(fnmatch(module, p) for p in patterns)}
    assert not {p for p in patterns if not any(fnmatch(module, p) for module in modules)}


def test_the_design_names_every_notebook():
    text = read("docs/design.md")
    for path in (places.REPO / "notebooks").glob("[0-9][0-9]_*.ipynb"):
        assert f"`{path.stem}`" in text


def test_the_citation_is_of_this_version():
    citation, project = yaml.safe_load(read("CITATION.cff")), tomllib.loads(read("pyproject.toml"))["project"]
    assert citation["cff-version"] == "1.2.0" and citation["authors"] and citation["message"]
    assert citation["version"] == project["version"] and citation["license"] == project["license"]
    assert all(each["title"] and each["authors"] for each in citation["references"])


def test_the_weekly_workflow_checks_what_make_test_checks():
    workflow = yaml.safe_load(read(".github/workflows/weekly.yml"))
    assert workflow[True]["schedule"][0]["cron"].split()[4] != "*"  # YAML reads `on` as True; one day of the week
    steps = "\n".join(step.get("run", "") for step in workflow["jobs"]["check"]["steps"])
    for command in ("-m pytest", "-m ruff check", "requirements-dev.txt"):
        assert command in steps
    unbound = re.search(r"sed -i -E 's/(.*?)//'", steps)[1]
    for name in ("requirements.txt", "requirements-dev.txt"):
        assert not re.search(r"<\s*\d", re.sub(unbound, "", re.sub(r"#.*", "", read(name))))


def test_the_weekly_workflow_tries_colab_and_asks_whether_addresses_answer():
    jobs = yaml.safe_load(read(".github/workflows/weekly.yml"))["jobs"]
    assert set(jobs["tell"]["needs"]) == set(jobs) - {"tell"}, "no job fails in silence"
    assert any(step.get("run") == "make colab-like" for step in jobs["colab"]["steps"])
    script = jobs["links"]["steps"][-1]["run"]
    find = re.search(r"grep -hoE '(.*?)'", script)[1].replace("[^][", r"[^\]\[")
    assert re.findall(find, "see [it](https://example.com/a_b) or <https://example.com/c>") == [
        "https://example.com/a_b",
        "https://example.com/c",
    ]


def test_notebooks_end_with_the_way_to_the_glossary():
    for path in notebooks.paths():
        last = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][-1]["source"])
        where = r"(\.\.|https://github\.com/[\w.-]+/[\w.-]+/blob/main)"  # the latter where `make colab` was used
        assert re.search(rf"\[glossary\]\({where}/docs/glossary\.md\)\.$", last), path.name


def test_the_documents_point_at_files_that_exist():
    for name in ("docs/design.md", "docs/teaching.md", "CONTRIBUTING.md"):
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", read(name)):
            assert ((places.REPO / name).parent / target).exists(), f"{name} points at {target}"
        for path in re.findall(r"`((?:helpers|data|tests|docs|pocket)/[\w./-]+)`", read(name)):
            assert (places.REPO / path).exists(), f"{name} names {path}"
