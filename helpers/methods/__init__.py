"""The methods of the paper: hypernetwork, DreamBooth, LoRA, a predictor of weights, and what they take of memory."""

from helpers.methods import concepts, dreambooth, hypernetwork, hypernetwork_file, lora, memory, predictor
