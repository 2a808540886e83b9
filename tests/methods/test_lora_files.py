"""LoRA files as their tools write them, against weights merged by hand: W + strength * alpha / rank * up @ down."""

import copy
import json
import warnings

import pytest
import torch
from conftest import tiny_pipeline
from diffusers.training_utils import _collate_lora_metadata
from peft import LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict
from peft.utils.other import get_pattern_key
from safetensors.torch import save_file
from torch import nn

from helpers.diffusion import checkpoint
from helpers.methods import dreambooth, lora

pytestmark = pytest.mark.slow

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "q_proj", "k_proj", "v_proj", "out_proj")


@pytest.fixture
def pipe():
    return tiny_pipeline()


def layers(part, kinds=ATTENTION):
    return {name: module for name, module in part.named_modules() if name.endswith(kinds)}


def drawn(module, rank):
    """(down, up) for a layer, of any kind of numbers."""
    out, *rest = module.weight.shape
    return 0.2 * torch.randn(rank, *rest), 0.2 * torch.randn(out, rank, *[1] * (len(rest) - 1))


def made(pipe, kinds=ATTENTION, ranks=(2, 3, 4), alpha=lambda rank: rank / 2):
    """{(part, layer): (down, up, alpha)}, of ranks that differ by layer."""
    torch.manual_seed(1)
    found = [(part, name, module) for part in ("unet", "text_encoder")
             for name, module in layers(getattr(pipe, part), kinds).items()]  # fmt: skip
    ranks = [ranks[i % len(ranks)] for i in range(len(found))]
    return {(p, name): (*drawn(module, r), alpha(r)) for (p, name, module), r in zip(found, ranks, strict=True)}


def merged(pipe, matrices, strength=1.0):
    """A copy of the two networks with the matrices added to their weights by hand."""
    parts = {part: copy.deepcopy(getattr(pipe, part)) for part in ("unet", "text_encoder")}
    for (part, name), (down, up, alpha) in matrices.items():
        weight = parts[part].get_submodule(name).weight
        delta = up.flatten(1).double() @ down.flatten(1).double()
        with torch.no_grad():
            weight += (strength * alpha / len(down) * delta).reshape(weight.shape).to(weight.dtype)
    return parts


@torch.no_grad()
def answers(unet, text_encoder):
    torch.manual_seed(2)
    text = text_encoder(torch.tensor([[1, 5, 9, 2]]))[0]
    return text, unet(torch.randn(1, 4, 8, 8), 500, torch.randn(1, 5, 16)).sample


def assert_merged(pipe, matrices, strength=1.0):
    ours, truth = answers(pipe.unet, pipe.text_encoder), answers(**merged_of(pipe, matrices, strength))
    for one, other in zip(ours, truth, strict=True):
        assert (one - other).abs().max() < 1e-5
    bare = answers(**merged_of(pipe, {}, 1))
    assert max((one - other).abs().max() for one, other in zip(truth, bare)) > 1e-2, "it is something"


def merged_of(pipe, matrices, strength):
    bare = tiny_pipeline()
    bare.text_encoder.load_state_dict(pipe.before)
    return merged(bare, matrices, strength)


@pytest.fixture(autouse=True)
def remember(pipe):
    pipe.before = copy.deepcopy(pipe.text_encoder.state_dict())


# What each tool writes


def kohya(pipe, matrices, text="lora_te_text_model_", joint="_"):
    """sd-scripts' networks/lora.py: lora_name with underscores, lora_down, lora_up and alpha."""
    tensors = {}
    for (part, name), (down, up, alpha) in matrices.items():
        prefix = f"lora_unet{joint}" if part == "unet" else text
        layer = prefix + name.removeprefix("text_model.").replace(".", joint)
        tensors |= {f"{layer}.lora_down.weight": down, f"{layer}.lora_up.weight": up}
        tensors[f"{layer}.alpha"] = torch.tensor(float(alpha))
    return tensors


def one_trainer(pipe, matrices):
    """OneTrainer with its newer key format (its convert_sd_lora.py): dots, the original's names in the U-Net, clip_l,
    and embeddings beside."""
    attends = {name.split(".attentions.")[0] for _, name in matrices if ".attentions." in name}
    tensors = {"bundle_emb.<amir>.clip_l": torch.randn(2, 16)}
    for (part, name), (down, up, alpha) in matrices.items():
        if part == "unet":
            each = pipe.unet.config.layers_per_block
            layer = "unet." + checkpoint.original_unet_name(f"{name}.weight", each, attends).removesuffix(".weight")
            if name.endswith("upsamplers.0.conv"):  # its table has them after an attention, as most are
                layer = layer.replace(".1.conv", ".2.conv")
        else:
            layer = "clip_l.text_model." + name.removeprefix("text_model.")
        tensors |= {f"{layer}.lora_down.weight": down, f"{layer}.lora_up.weight": up}
        tensors[f"{layer}.alpha"] = torch.tensor(float(alpha))
    return tensors


def processors(pipe, matrices):
    """diffusers of early 2023: save_attn_procs, without a part's name; and of the text encoder after it."""
    tensors = {}
    for (part, name), (down, up, _) in matrices.items():
        attention, _, kind = name.removesuffix(".0").rpartition(".")
        kind = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}.get(kind, kind)
        layer = f"{attention}.processor.{kind}_lora"
        if part == "text_encoder":
            layer = f"text_encoder.text_model.{attention.removeprefix('text_model.')}.{kind}_lora"
        tensors |= {f"{layer}.down.weight": down, f"{layer}.up.weight": up}
    return tensors


def linear_layers(pipe, matrices):
    """diffusers of summer 2023."""
    tensors = {}
    for (part, name), (down, up, _) in matrices.items():
        layer = f"{part}.{name}"
        if part == "text_encoder":
            layer = f"text_encoder.text_model.{name.removeprefix('text_model.')}"
        kind = "lora" if part == "unet" else "lora_linear_layer"
        tensors |= {f"{layer}.{kind}.down.weight": down, f"{layer}.{kind}.up.weight": up}
    return tensors


@pytest.mark.parametrize("strength", [1.0, -0.6])
@pytest.mark.parametrize(
    ("write", "stated"),
    [
        (kohya, True),
        (lambda *given: kohya(*given, text="lora_te1_text_model_"), True),
        (lambda *given: kohya(*given, text="lora_te.text_model.", joint="."), True),
        (one_trainer, True),
        (processors, False),
        (linear_layers, False),
    ],
)
@pytest.mark.filterwarnings("ignore:.*embeddings, too")
def test_ranks_and_alphas_of_each_layer_are_what_the_file_states(pipe, tmp_path, write, stated, strength):
    matrices = made(pipe, alpha=(lambda rank: rank / 2) if stated else (lambda rank: rank))
    save_file(write(pipe, matrices), tmp_path / "a.safetensors")
    lora.load(pipe, tmp_path / "a.safetensors", strength)
    assert_merged(pipe, matrices, strength)
    lora.load(pipe, tmp_path / "a.safetensors", strength)  # instead of the first, not beside it
    assert_merged(pipe, matrices, strength)
    torch.save(write(pipe, matrices), tmp_path / "a.bin")
    lora.load(pipe, tmp_path / "a.bin", strength)
    assert_merged(pipe, matrices, strength)


def taught(part, config, adapter="default"):
    """{layer: (down, up, alpha)} of the adapters that peft itself has put on a network, filled with numbers."""
    torch.manual_seed(3)
    found = {}
    for name, module in part.named_modules():
        if adapter in getattr(module, "lora_A", ()):
            down, up = module.lora_A[adapter].weight, module.lora_B[adapter].weight
            with torch.no_grad():
                nn.init.normal_(down, std=0.2)
                nn.init.normal_(up, std=0.2)
            found[name.removeprefix("base_model.model.")] = (
                down.clone(),
                up.clone(),
                module.scaling[adapter] * len(down),
            )
    return found


PATTERNS = {"rank_pattern": {"attn2.to_k": 3}, "alpha_pattern": {"attn2.to_k": 7, "to_v": 2}}


@pytest.mark.parametrize("more", [{}, PATTERNS, {"use_rslora": True}])
def test_peft_s_own_folder_and_diffusers_own_file_have_their_scales(pipe, tmp_path, more):
    config = LoraConfig(r=16, lora_alpha=4, target_modules=["to_q", "to_k", "to_v", "to_out.0"], **more)
    other = copy.deepcopy(pipe.unet)
    model = get_peft_model(other, config)
    matrices = {("unet", name): values for name, values in taught(model, config).items()}
    model.save_pretrained(tmp_path / "peft")
    lora.load(pipe, tmp_path / "peft")
    assert_merged(pipe, matrices)
    other = tiny_pipeline()
    other.unet.add_adapter(config)
    text = LoraConfig(r=6, lora_alpha=2, target_modules=["q_proj", "v_proj"])
    other.text_encoder.add_adapter(text)
    matrices = {("unet", name): values for name, values in taught(other.unet, config).items()}
    matrices |= {("text_encoder", name): values for name, values in taught(other.text_encoder, text).items()}
    other.save_lora_weights(
        tmp_path / "diffusers",
        get_peft_model_state_dict(other.unet),
        get_peft_model_state_dict(other.text_encoder),
        **_collate_lora_metadata({"unet": other.unet, "text_encoder": other.text_encoder}),
    )
    lora.load(pipe, tmp_path / "diffusers" / "pytorch_lora_weights.safetensors")
    assert_merged(pipe, matrices)


def test_convolutions_with_and_without_a_middle_have_their_own_alphas(pipe, tmp_path):
    """LoCon, of LyCORIS: convolutions of 3 by 3, of 1 by 1, and in three parts."""
    kinds = ("conv1", "conv_shortcut", "proj_in", "to_q", "fc1")
    matrices = made(pipe, kinds, alpha=lambda rank: 1)
    tensors = kohya(pipe, matrices)
    part, name = place = next(place for place in matrices if place[1].endswith("conv2") or place[1].endswith("conv1"))
    weight = getattr(pipe, part).get_submodule(name).weight
    sizes = (3, 3, 3, 3), (3, weight.shape[1], 1, 1), (len(weight), 3, 1, 1)
    mid, down, up = (0.2 * torch.randn(size) for size in sizes)
    layer = f"lora_unet_{name.replace('.', '_')}"
    tensors |= {f"{layer}.lora_mid.weight": mid, f"{layer}.lora_down.weight": down, f"{layer}.lora_up.weight": up}
    inner = torch.stack([sum(mid[i, j] * down[j, :, 0, 0, None, None] for j in range(3)) for i in range(3)])
    matrices[place] = (inner, up, float(tensors[f"{layer}.alpha"]))
    save_file(tensors, tmp_path / "locon.safetensors")
    lora.load(pipe, tmp_path / "locon.safetensors", 0.7)
    assert_merged(pipe, matrices, 0.7)


@pytest.mark.filterwarnings("ignore:.*embeddings, too")
def test_convolutions_of_onetrainer_have_its_names(pipe, tmp_path):
    matrices = made(pipe, ("conv", "conv2", "conv_shortcut", "proj_in", "to_q", "fc1"))
    assert any("upsamplers" in name for _, name in matrices)
    save_file(one_trainer(pipe, matrices), tmp_path / "a.safetensors")
    lora.load(pipe, tmp_path / "a.safetensors")
    assert_merged(pipe, matrices)


def test_a_lora_of_the_text_encoder_alone(pipe, tmp_path):
    matrices = {place: values for place, values in made(pipe).items() if place[0] == "text_encoder"}
    save_file(kohya(pipe, matrices), tmp_path / "text.safetensors")
    lora.load(pipe, tmp_path / "text.safetensors")
    assert_merged(pipe, matrices)


def test_a_half_precision_model_keeps_its_precision(pipe, tmp_path):
    save_file(kohya(pipe, made(pipe)), tmp_path / "a.safetensors")
    for part in (pipe.unet, pipe.text_encoder):
        part.to(torch.bfloat16)
    lora.load(pipe, tmp_path / "a.safetensors")
    for part in (pipe.unet, pipe.text_encoder):
        assert {parameter.dtype for parameter in part.parameters()} == {torch.bfloat16}
    text = pipe.text_encoder(torch.tensor([[1, 5, 9, 2]]))[0]
    noise = torch.randn(1, 4, 8, 8, dtype=torch.bfloat16)
    assert pipe.unet(noise, 500, text).sample.dtype == torch.bfloat16


# What is not applied


def spoilt(pipe, name, tensor, drop=""):
    tensors = {key: value for key, value in kohya(pipe, made(pipe)).items() if not drop or not key.endswith(drop)}
    layer = next(iter(tensors)).split(".")[0]
    return tensors | ({f"{layer}.{name}" if name.islower() else name: tensor} if name else {})


ATTENDING = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"


@pytest.mark.parametrize(
    ("name", "tensor", "drop", "words"),
    [
        ("dora_scale", torch.ones(32, 1), "", "DoRA"),
        ("hada_w1_a", torch.ones(32, 2), "", "LoHa"),
        ("lokr_w1", torch.ones(2, 2), "", "LoKr"),
        ("oft_blocks", torch.ones(2, 2), "", "OFT"),
        ("diff", torch.ones(2, 2), "", "differences"),
        ("lora_te2_text_model_encoder_layers_0_mlp_FC1.alpha", torch.ones(1), "", "XL"),
        ("lora_unet_down_blocks_9_attentions_0_PROJ.alpha", torch.ones(1), "", "no place"),
        ("Unknown.tensor", torch.ones(1), "", "Unknown.tensor.*no place"),
        ("alpha", torch.ones(2), "", "alpha"),
        ("lora_up.weight", torch.full((32, 2), torch.nan), "", "not numbers"),
        ("lora_up.weight", torch.ones(64, 1), "", "another model"),  # as many numbers as the right one
        ("lora_down.weight", torch.ones(()), "", "another model"),
        (f"{ATTENDING}.lora_A.weight", torch.ones(2, 32), "", "twice"),
        ("", None, "lora_up.weight", "one of the two"),
    ],
)
def test_another_kind_is_named_in_one_sentence_and_nothing_changes(pipe, tmp_path, name, tensor, drop, words):
    save_file(spoilt(pipe, name, tensor, drop), tmp_path / "odd.safetensors")
    refused(pipe, tmp_path / "odd.safetensors", words)


def refused(pipe, path, words):
    before = answers(pipe.unet, pipe.text_encoder)
    with pytest.raises(ValueError, match=words) as error:
        lora.load(pipe, path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500 and path.name in str(error.value)
    for one, other in zip(before, answers(pipe.unet, pipe.text_encoder), strict=True):
        assert torch.equal(one, other)


def test_a_lora_for_another_model_is_named(pipe, tmp_path):
    matrices = made(pipe)
    for (part, name), (down, up, alpha) in matrices.items():
        if name.endswith(("attn2.to_k", "attn2.to_v")):
            matrices[part, name] = (torch.randn(len(down), 24), up, alpha)
    save_file(kohya(pipe, matrices), tmp_path / "sd2.safetensors")
    refused(pipe, tmp_path / "sd2.safetensors", "another model.*24.*1024 in SD 2")


@pytest.mark.parametrize(
    ("metadata", "words"),
    [("{", "unreadable"), ("[]", "unreadable"), ('{"unet.lora_alpha": "four"}', "alpha"), ("{\"unet.alpha_pattern\": {\"(\": 1}}", "alpha")],
)  # fmt: skip
def test_a_header_that_cannot_be_read_is_named(pipe, tmp_path, metadata, words):
    save_file(linear_layers(pipe, made(pipe)), tmp_path / "odd.safetensors", {"lora_adapter_metadata": metadata})
    refused(pipe, tmp_path / "odd.safetensors", words)


INTRICATE = ["(a+)+b", "(to_k|to_.)(a|a)(a|a)(a|a)x", ".*.*.*.*x", "(?:t|t)?" * 50, "a" * 300 + "?"]


@pytest.mark.parametrize("patterns", [*([one] for one in INTRICATE), [f"a{number}" for number in range(5000)]])
def test_patterns_of_a_header_that_would_take_for_ever_are_refused(pipe, tmp_path, patterns):
    about = {"lora_adapter_metadata": json.dumps({"unet.alpha_pattern": dict.fromkeys(patterns, 1)})}
    save_file(linear_layers(pipe, made(pipe)), tmp_path / "odd.safetensors", about)
    refused(pipe, tmp_path / "odd.safetensors", "no readable alpha")


@pytest.mark.parametrize(
    "pattern", ["attn2.to_k", r"attn\d.to_[kv]", ".*attn2.to_k", "(attn1|attn2).to_k", r"mid_block\..*", "o_k"]
)
@pytest.mark.parametrize("layer", ["mid_block.attentions.0.attn2.to_k", "attn1.to_v", "down_blocks.0.attn2.to_k"])
def test_other_patterns_are_read_as_peft_reads_them(pattern, layer):
    assert lora._fits(pattern, layer) == (get_pattern_key([pattern], layer) == pattern)


def test_a_small_pickle_that_claims_much_memory_is_refused(pipe, tmp_path):
    tensors = {f"unet.{name}.lora.{side}.weight": torch.zeros(1).expand(2**20, 2**20)
               for name in layers(pipe.unet) for side in ("down", "up")}  # fmt: skip
    torch.save(tensors, tmp_path / "bomb.bin")
    refused(pipe, tmp_path / "bomb.bin", "holds no LoRA")


def test_embeddings_that_come_along_are_told_of(pipe, tmp_path):
    save_file(one_trainer(pipe, made(pipe)), tmp_path / "a.safetensors")
    with pytest.warns(UserWarning, match="<amir>"):
        lora.load(pipe, tmp_path / "a.safetensors")
    save_file(kohya(pipe, made(pipe)), tmp_path / "a.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lora.load(pipe, tmp_path / "a.safetensors")


# Writers, while a LoRA is on


def test_a_loaded_lora_is_written_as_it_is_at_strength_1(pipe, tmp_path):
    matrices = made(pipe)
    save_file(kohya(pipe, matrices), tmp_path / "a.safetensors")
    lora.load(pipe, tmp_path / "a.safetensors", 0.3)
    lora.save(tmp_path / "b.safetensors", pipe.unet, pipe.text_encoder)
    lora.export(tmp_path / "c.safetensors", pipe.unet, pipe.text_encoder, torch.float32)
    for name in ("b", "c"):
        lora.load(pipe, tmp_path / f"{name}.safetensors")
        assert_merged(pipe, matrices)
    lora.load(pipe, tmp_path / "a.safetensors")
    pipe.unload_lora_weights()
    for write in (lora.save, lora.export):
        with pytest.raises(ValueError, match="0 LoRAs"):
            write(tmp_path / "none.safetensors", pipe.unet, pipe.text_encoder)
    assert not (tmp_path / "none.safetensors").exists()


def test_a_model_with_a_lora_on_is_not_written_until_it_is_baked_in(pipe, tmp_path):
    matrices = made(pipe)
    save_file(kohya(pipe, matrices), tmp_path / "a.safetensors")
    lora.load(pipe, tmp_path / "a.safetensors", 0.5)
    for suffix in ("ckpt", "safetensors"):
        with pytest.raises(ValueError, match="fuse_lora"):
            checkpoint.export(tmp_path / f"model.{suffix}", pipe, torch.float32)
    with pytest.raises(ValueError, match="fuse_lora"):
        dreambooth.save(tmp_path / "model", pipe)
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"], "before anything is written"
    pipe.fuse_lora()
    pipe.unload_lora_weights()
    assert_merged(pipe, matrices, 0.5)
    checkpoint.export(tmp_path / "model.ckpt", pipe, torch.float32)
    fresh = tiny_pipeline()
    checkpoint.load_into(fresh, tmp_path / "model.ckpt")
    for one, other in zip(answers(fresh.unet, fresh.text_encoder), answers(pipe.unet, pipe.text_encoder), strict=True):
        assert torch.equal(one, other)
