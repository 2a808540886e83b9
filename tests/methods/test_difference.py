import fake_gpu
import numpy as np
import pytest
import torch
from conftest import tiny_pipeline

from helpers import diffusion, machine
from helpers.methods import difference


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


@pytest.mark.parametrize("whole", [0.2, 0.9, 0.999])
def test_a_file_that_is_cut_off_changes_nothing_and_says_so(tiny, trained, tmp_path, whole):
    path, before = tmp_path / "difference.npz", weights(tiny)
    difference.save(path, trained, tiny, "base")
    path.write_bytes(path.read_bytes()[: int(whole * path.stat().st_size)])
    with pytest.raises(ValueError, match="difference.npz is damaged"):
        difference.add(path, tiny, "base")
    assert all(torch.equal(tensor, before[key]) for key, tensor in weights(tiny).items())


def test_a_difference_of_other_networks_says_so(tiny, trained, tmp_path):
    difference.save(tmp_path / "difference.npz", trained, tiny, "base")
    tiny.unet = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match="difference.npz is damaged"):
        difference.add(tmp_path / "difference.npz", tiny, "base")


def test_half_weights_take_a_difference_too(tiny, trained, tmp_path):
    difference.save(tmp_path / "difference.npz", trained, tiny, "base")
    half = tiny.to(torch.float16)
    difference.add(tmp_path / "difference.npz", half, "base")
    for key, tensor in weights(half).items():
        assert tensor.dtype == torch.float16 and torch.allclose(
            tensor.float(), weights(trained)[key].float(), atol=2e-3
        ), key


def added_on_a_gpu(gpu, path):
    """Where the weights of a pipeline on the GPU are, after a difference from them was added."""
    base = diffusion.load_pipeline("pocket")
    difference.add(path, base, machine.weights_id(diffusion.POCKET))
    return [str(tensor.device) for part in difference.PARTS for tensor in getattr(base, part).parameters()]


@pytest.mark.slow
@fake_gpu.possible
def test_weights_on_a_gpu_take_a_difference_too():
    found = fake_gpu.run(added_on_a_gpu, str(machine.REPO / "data/finished/dreambooth_amir" / difference.NAME))
    assert set(found) == {"cuda:0"}


def test_nothing_but_numbers_is_read(tiny, tmp_path):
    with open(tmp_path / "difference.npz", "wb") as file:
        np.savez(file, base=np.array(["base", object()], dtype=object))
    with pytest.raises(ValueError, match="is damaged .*allow_pickle"):
        difference.add(tmp_path / "difference.npz", tiny, "base")
