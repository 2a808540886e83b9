"""Why attention runs in float32 inside bfloat16 autocast on a processor: one call, forward and backward, in both.

python -m benchmarks.attention
"""

import statistics
import time

import torch
import torch.nn.functional as F

SHAPE = (8, 4, 256, 24)  # batch, heads, positions and width of a head: the pocket U-Net at 16 x 16
REPEATS = 20


def milliseconds(dtype):
    """Median over REPEATS of one attention call with its gradients."""
    query, key, value = (torch.randn(SHAPE, dtype=dtype, requires_grad=True) for _ in range(3))
    taken = []
    for _ in range(REPEATS + 2):
        began = time.perf_counter()
        F.scaled_dot_product_attention(query, key, value).sum().backward()
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken[2:])  # the first calls choose their kernels


if __name__ == "__main__":
    torch.manual_seed(0)
    full, half = milliseconds(torch.float32), milliseconds(torch.bfloat16)
    print(f"float32 {full:.1f} ms, bfloat16 {half:.1f} ms: {half / full:.1f} times as long")
