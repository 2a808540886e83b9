"""What the U-Net's training looks at most."""

import torch

from pocket.draw import face_box
from pocket.scenes import scene
from pocket.train_unet import FACE, face_weights

SCENES = [scene("test", number) for number in range(40)]


def test_faces_count_more_and_a_picture_as_much_as_before():
    weights = face_weights(SCENES)
    assert weights.shape == (40, 1, 16, 16) and torch.allclose(weights.mean((1, 2, 3)), torch.ones(40))
    most, least = weights.amax((1, 2, 3)), weights.amin((1, 2, 3))
    assert torch.allclose(most / least, torch.full((40,), FACE))
    for weight, one in zip(weights, SCENES):
        left, top, side = face_box(one)
        x, y = (int(16 * (edge + side / 2)) for edge in (left, top))
        assert weight[0, y, x] == weight.max(), "the middle of the face"
