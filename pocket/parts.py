"""The parts of the pocket model: Stable Diffusion's own, in small, from the same libraries."""

from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, UNet2DConditionModel
from transformers import (
    BlipConfig,
    BlipForConditionalGeneration,
    CLIPConfig,
    CLIPModel,
    CLIPTextModel,
)

IMAGE_SIZE = 128
TEXT_WIDTH = 160
TEXT_LENGTH = 77
EYES = {  # the image encoder of CLIP and of BLIP
    "hidden_size": 192,
    "intermediate_size": 768,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "image_size": IMAGE_SIZE,
    "patch_size": 16,
}


def vae():
    """AutoencoderKL, 128 x 128 x 3 to 16 x 16 x 4, without attention so that it trains on crops."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(32, 64, 128, 128),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=IMAGE_SIZE,
    )


def unet():
    """UNet2DConditionModel on 16 x 16 x 4 latents with cross-attention at every level.

    As in SD 1.x, the widths of self-attention (96, 192, 256) differ from the text's, so that a
    hypernetwork file can name its layers by width. attention_head_dim is the number of heads there.
    """
    return UNet2DConditionModel(
        sample_size=IMAGE_SIZE // 8,
        block_out_channels=(96, 192, 256),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",) * 3,
        up_block_types=("CrossAttnUpBlock2D",) * 3,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
    )


def scheduler():
    """SD's noise schedule (scaled linear, 0.00085 to 0.012, 1,000 steps, predicts the noise)."""
    return DPMSolverMultistepScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        num_train_timesteps=1000,
        steps_offset=1,
        prediction_type="epsilon",
    )


def clip(tokenizer):
    """CLIP: the text encoder that the U-Net listens to and the image tower of the scores."""
    special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 4 * TEXT_WIDTH,
        "num_hidden_layers": 4,
        "num_attention_heads": 5,
        "max_position_embeddings": TEXT_LENGTH,
        "projection_dim": 128,
        "pad_token_id": tokenizer.pad_token_id,
        **special,
    }
    vision = EYES | {"projection_dim": 128}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=128))


def text_encoder(tokenizer):
    """The text encoder alone, of the same shape as in `clip`."""
    return CLIPTextModel(clip(tokenizer).config.text_config)


def blip(tokenizer):
    """BLIP, the captioner: an image encoder and a text decoder that looks at it."""
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 192,
        "encoder_hidden_size": 192,
        "intermediate_size": 768,
        "num_hidden_layers": 4,
        "num_attention_heads": 6,
        "max_position_embeddings": 96,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.sep_token_id,
        "sep_token_id": tokenizer.sep_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=EYES))
