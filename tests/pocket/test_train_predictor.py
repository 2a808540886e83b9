import torch

from helpers.methods import predictor
from pocket.assemble import load_part
from pocket.train_predictor import Teacher, listen_to_identifiers


def test_rows_that_read_the_text_begin_where_identifiers_are():
    torch.manual_seed(0)
    unet = load_part("unet")
    net, teacher = predictor.Predictor(predictor.layers_of(unet), rank=8, width=16), Teacher(unet)
    before = [down.clone() for down in net.down]
    listen_to_identifiers(net, teacher, count=60)
    text = unet.config.cross_attention_dim
    assert all(torch.equal(old, new) == (new.shape[1] != text) for old, new in zip(before, net.down))
    row = net.down[next(i for i, name in enumerate(net.layers) if name.endswith("attn2.to_v"))]

    def heard(name):
        prompts = ("a photo of {} person", "{} on a horse", "a chibi {} figurine", "an oil painting of {} person")
        said = teacher.embeds([prompt.format(name) for prompt in prompts])
        return (said @ row.T).square().mean(2).amax(1).sum()

    assert heard("nesrelah_001") > 2 * heard("a")
