"""The methods of the paper: hypernetwork, DreamBooth, LoRA, and what they take of memory."""

from helpers.methods import concepts, dreambooth, hypernetwork, hypernetwork_file, lora, memory
