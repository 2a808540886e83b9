import pytest

from helpers.exercises import checks


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    """The file for results, in a folder of the test's own."""
    monkeypatch.setattr(checks.machine, "RUNS", tmp_path)
    return tmp_path / checks.RESULTS
