import pandas as pd
import pytest

from helpers import machine
from helpers.compare import table2, trained

LOSS = "step,loss,held_out_loss,learning_rate,seconds\n0,,0.9,,0\n300,0.1,0.2,0,90.4\n"


@pytest.fixture
def found(tmp_path, monkeypatch):
    """A hypernetwork that tells its peak, a DreamBooth that does not; the crossed runs are missing."""
    monkeypatch.setattr(machine, "RUNS", tmp_path)
    monkeypatch.setattr(trained, "FINISHED", tmp_path / "came")
    sizes = {"hypernetwork_amir/hypernetwork.pt": 4_400_000, "dreambooth_nesrelah/model/unet.safetensors": 1_500_000}
    for weights, size in sizes.items():
        path, name = tmp_path / weights, weights.split("/")[0]
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes(size))
        (tmp_path / name / "card.md").write_text("done")
        (tmp_path / name / "loss.csv").write_text(LOSS)
        settings = {"model": "pocket", "parameters": 100_000_000, "versions": {"device": "cpu"}}
        machine.write_json(tmp_path / name / "settings.json", settings)
    (tmp_path / "dreambooth_nesrelah" / "model" / "index.json").write_bytes(bytes(500_000))
    machine.write_json(tmp_path / "hypernetwork_amir" / "memory.json", {"peak_bytes": 6_250_000_000})
    return trained.find("pocket")


def test_what_a_run_tells_comes_from_its_folder(found):
    config = table2.column(found["hypernetwork_amir"], "affected")
    expected = {"memory": "6.2 GB, measured", "trained on": "a processor, no GPU", "steps": "300", "minutes": "1.5"}
    assert config == expected | {"on disk": "4.4 MB", "the class": "affected"}
    config = table2.column(found["dreambooth_nesrelah"], unet_parameters=7)
    assert config["memory"] == "above 1.6 GB, predicted"  # 100 million weights, 16 bytes each; nothing is frozen
    assert config["on disk"] == "2.0 MB" and config["the class"] == "not looked at"
    (found["hypernetwork_amir"].run / "memory.json").unlink()
    config = table2.column(found["hypernetwork_amir"], unet_parameters=200_000_000)  # frozen: two bytes a weight
    assert config["memory"] == "above 2.0 GB, predicted"
    assert "dreambooth_amir" in table2.column(found["dreambooth_amir"])["steps"]


def test_our_columns_stand_beside_the_papers(found, tmp_path):
    whole = table2.table([found["dreambooth_nesrelah"], found["hypernetwork_amir"]], {"hypernetwork_amir": "affected"})
    assert [where for _, where in whole.columns] == ["the paper", "here, amir", "the paper", "here, nesrelah"]
    assert whole.loc["steps"].tolist() == ["10,000", "300", "4,040", "300"]
    assert whole.loc["the class", ("hypernetwork", "here, amir")] == "affected"
    table2.save(tmp_path / "table2.csv", whole)
    kept = pd.read_csv(tmp_path / "table2.csv", keep_default_na=False)
    assert list(kept.columns)[:3] == ["method", "where", "memory"] and len(kept) == 4
