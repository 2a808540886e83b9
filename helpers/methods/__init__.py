"""The methods: hypernetwork, DreamBooth, LoRA, textual inversion, a predictor of weights, and what they take of memory."""

from helpers.methods import (
    concepts, dreambooth, hypernetwork, hypernetwork_file, lora, memory, predictor, textual_inversion,
)  # fmt: skip
