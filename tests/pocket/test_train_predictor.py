from types import SimpleNamespace

import torch

from helpers.methods import predictor
from pocket import train_predictor
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


def test_training_further_begins_with_what_is_there_and_reads_the_same_identity():
    features = torch.randn(8, train_predictor.PORTRAITS, 17, 192, generator=torch.Generator().manual_seed(1)).half()
    who = SimpleNamespace(people=range(8), features=features.numpy())
    who.answers = torch.randint(2, (8, len(train_predictor.FEATURES)), generator=torch.Generator().manual_seed(2))
    learner = train_predictor.Learner(load_part("unet"), predictor.load().eyes, who.features, further=True)
    read = lambda: learner.readout_loss(features.float()[:, :1], who.answers).item()
    before, began = read(), {name: tensor.clone() for name, tensor in predictor.load().state_dict().items()}
    train_predictor.learn_to_read(learner, who, further=True, steps=30)
    assert read() < before
    assert all(torch.equal(tensor, began[name]) for name, tensor in learner.predictor.state_dict().items())
    assert learner.predictor.training and not any(p.requires_grad for p in learner.predictor.eyes.parameters())
