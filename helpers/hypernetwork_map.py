"""A picture of where a hypernetwork sits: every block of a U-Net with the contexts its attention listens to."""

from collections import Counter

from matplotlib.patches import FancyBboxPatch

from helpers.plots import INK, figure
from helpers.unet_map import blocks

WIDTH, HEIGHT = 2.5, 0.8  # of a block
LENSES = ("#e08214", "#3f6fb5", "#4d9a5b", "#a3569c", "#c0504d", "#8a8d98")  # one a width, the text's first
SHAPES = "Dosv^P"  # for those who do not see the colours apart


def contexts(unet):
    """[(block, {width of context: attention layers})] in the order in which the latents pass; block as in unet_map."""
    modules = [*unet.down_blocks, unet.mid_block, *unet.up_blocks]
    listening = [
        Counter(module.to_k.in_features for module in block.modules() if hasattr(module, "to_k")) for block in modules
    ]
    return list(zip(blocks(unet), listening, strict=True))


def hypernetwork_map(unet):
    """Draw the U-Net as a U with a mark for each context width: same colour and shape, same pair of networks.

    Returns a matplotlib Figure.
    """
    parts = contexts(unet)
    text = unet.config.cross_attention_dim
    widths = [text, *sorted({width for _, count in parts for width in count} - {text})]
    depth = max(block["level"] for block, _ in parts) + 1
    chart, axes = figure(9, 1.6 + 0.95 * depth)
    axes.set(xlim=(-0.2, 9.2), ylim=(-depth - 1.9, 0.6))
    axes.axis("off")
    for block, count in parts:
        _block(axes, block, count, widths, *_place(block, depth))
    for level in range(depth - 1):
        _arrow(axes, (WIDTH / 2, -level - HEIGHT / 2), (WIDTH / 2, -level - 1 + HEIGHT / 2))
        _arrow(axes, (9 - WIDTH / 2, -level - 1 + HEIGHT / 2), (9 - WIDTH / 2, -level - HEIGHT / 2))
    _arrow(axes, (WIDTH / 2, 1 - depth - HEIGHT / 2), (4.5 - WIDTH / 2, -depth))
    _arrow(axes, (4.5 + WIDTH / 2, -depth), (9 - WIDTH / 2, 1 - depth - HEIGHT / 2))
    for i, width in enumerate(widths):
        x, y = 9 * i / len(widths), -depth - 1.1
        axes.plot(x + 0.1, y, SHAPES[i % 6], color=LENSES[i % 6], markersize=9)
        kind = "the prompt" if i == 0 else "the picture"
        layers = sum(count[width] for _, count in parts)
        axes.text(
            x + 0.3, y, f"{kind}, {width} wide\n{layers} layers share one pair", va="center", fontsize=8, color=INK
        )
    return chart


def _place(block, depth):
    """Left edge and middle height of a block."""
    if block["name"] == "middle":
        return 4.5 - WIDTH / 2, -depth
    return (0 if block["name"] == "down" else 9 - WIDTH), -block["level"]


def _block(axes, block, count, widths, x, y):
    axes.add_patch(FancyBboxPatch((x, y - HEIGHT / 2), WIDTH, HEIGHT, "round,pad=0.02", fc="#f1f1f4", ec=INK))
    size = f"{block['side']} x {block['side']}, {block['channels']} wide"
    axes.text(x + WIDTH / 2, y + 0.2, size, ha="center", va="center", fontsize=8, color=INK)
    here = [width for width in widths if count[width]]
    if not here:
        axes.text(x + WIDTH / 2, y - 0.17, "no attention", ha="center", va="center", fontsize=8, color=INK)
    for i, width in enumerate(here):
        left, mark = x + 0.2 + 1.2 * i, widths.index(width) % 6
        axes.plot(left, y - 0.17, SHAPES[mark], color=LENSES[mark], markersize=8)
        axes.text(left + 0.17, y - 0.17, f"{count[width]} x {width}", va="center", fontsize=8, color=INK)


def _arrow(axes, start, end):
    axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": INK})
