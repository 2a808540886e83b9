"""The methods: hypernetwork, DreamBooth and its second step, LoRA, textual inversion, predicted weights, and their memory."""

from helpers.methods import (
    concepts, difference, dreambooth, hypernetwork, hypernetwork_file, lora, memory, predictor, textual_inversion, upscaling,
)  # fmt: skip
