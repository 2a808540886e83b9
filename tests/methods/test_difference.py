import numpy as np
import pytest
import torch
from conftest import tiny_pipeline

from helpers import diffusion, machine
from helpers.methods import difference, dreambooth


def weights(whole):
    """Copies of what DreamBooth may change, by part and name."""
    parts = {part: getattr(whole, part).state_dict() for part in difference.PARTS}
    return {(part, key): tensor.clone() for part, state in parts.items() for key, tensor in state.items()}


@pytest.fixture
def trained():
    """The tiny pipeline with all weights moved by some noise, but for one that stays and a row that moves far."""
    other, noise = tiny_pipeline(), torch.Generator().manual_seed(1)
    still = other.unet.conv_in.bias.clone()
    with torch.no_grad():
        for part in difference.PARTS:
            for tensor in getattr(other, part).state_dict().values():
                tensor += 1e-3 * torch.randn(tensor.shape, generator=noise)
        other.unet.conv_in.bias.copy_(still)
        other.unet.conv_in.weight[0] += 0.1
    return other


def test_the_base_and_a_difference_give_the_trained_weights_again(tiny, trained, tmp_path):
    before, wanted = weights(tiny), weights(trained)
    difference.save(tmp_path / "difference.npz", trained, tiny, "base")
    difference.add(tmp_path / "difference.npz", tiny, "base")
    for key, got in weights(tiny).items():
        moved = (wanted[key] - before[key]).reshape(len(got) if got.ndim > 1 else 1, -1)
        half = torch.maximum(moved.std(1, correction=0) / 16, moved.abs().amax(1) / 254)  # a step
        assert ((wanted[key] - got).reshape(moved.shape).abs() <= 1.001 * half[:, None] + 1e-7).all(), key
    assert torch.equal(tiny.unet.conv_in.bias, trained.unet.conv_in.bias)


def test_a_difference_is_added_to_its_own_base_alone(tiny, trained, tmp_path):
    difference.save(tmp_path / "difference.npz", trained, tiny, "base")
    before = weights(tiny)
    with pytest.raises(ValueError, match="from the weights base, not from other"):
        difference.add(tmp_path / "difference.npz", tiny, "other")
    assert all(torch.equal(tensor, before[key]) for key, tensor in weights(tiny).items())


def test_a_whole_model_is_written_once_and_again_where_the_file_changes(tiny, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "RUNS", tmp_path / "runs")
    path, base = tmp_path / "dreambooth_ana" / difference.NAME, tmp_path / "base"
    path.parent.mkdir()
    dreambooth.save(base, tiny)
    difference.save(path, trained, tiny, machine.weights_id(base))
    folder = difference.unpacked(path, base)
    dates = [file.stat().st_mtime_ns for file in sorted(folder.rglob("*"))]
    assert difference.unpacked(path, base) == folder
    assert [file.stat().st_mtime_ns for file in sorted(folder.rglob("*"))] == dates
    whole = diffusion.load_pipeline(str(folder))
    for key, tensor in weights(whole).items():
        assert torch.allclose(tensor, weights(trained)[key], atol=2e-3), key
    difference.save(path, tiny, tiny, machine.weights_id(base))
    plain = diffusion.load_pipeline(str(difference.unpacked(path, base)))
    assert all(torch.equal(tensor, weights(tiny)[key].half().float()) for key, tensor in weights(plain).items())


def test_nothing_but_numbers_is_read(tiny, tmp_path):
    with open(tmp_path / "difference.npz", "wb") as file:
        np.savez(file, base=np.array(["base", object()], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        difference.add(tmp_path / "difference.npz", tiny, "base")
