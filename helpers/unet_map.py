"""A map of a U-Net, drawn from its own modules: where the prompt comes in, and what notebooks 03 and 04 change."""

from matplotlib.patches import FancyBboxPatch, Rectangle

from helpers.plots import COLORS, INK, figure

HYPERNETWORK, DREAMBOOTH = "#a35400", COLORS[2]  # dark enough to read as text, and told apart by shape too
WIDTH, HEIGHT = 1.9, 0.62  # of a block on the map


def blocks(unet):
    """One dict a block, in the order in which the latents pass: name, side, channels, attentions, parameters.

    side: the latents' height and width inside the block. attentions: layers that listen to the prompt.
    """
    widths, side = unet.config.block_out_channels, unet.config.sample_size
    levels = range(len(widths))
    modules = [("down", block, level) for block, level in zip(unet.down_blocks, levels)]
    modules += [("middle", unet.mid_block, levels[-1])]
    modules += [("up", block, level) for block, level in zip(unet.up_blocks, reversed(levels))]
    return [
        {
            "name": name,
            "level": level,
            "side": side // 2**level,
            "channels": widths[level],
            "attentions": sum(module.endswith("attn2") for module, _ in block.named_modules()),
            "parameters": sum(weights.numel() for weights in block.parameters()),
        }
        for name, block, level in modules
    ]


def unet_map(unet):
    """Draw the U-Net: down on the left, up on the right, the prompt from below. Returns a matplotlib Figure."""
    parts = blocks(unet)
    depth = max(part["level"] for part in parts) + 1
    chart, axes = figure(9, 1.5 + 0.85 * depth)
    axes.set(xlim=(-2.7, 8.7), ylim=(-depth - 1.75, 0.95))
    axes.axis("off")
    axes.add_patch(Rectangle((-0.35, -depth - 0.5), 6.7, depth + 1.1, fill=False, ec=DREAMBOOTH, lw=2.5, ls="--"))
    axes.text(3, 0.72, "04 DreamBooth changes every weight inside this frame", color=DREAMBOOTH, ha="center")
    for part in parts:
        _block(axes, part, *_place(part, depth))
    for level in range(depth):
        _arrow(axes, (WIDTH, -level), (6 - WIDTH, -level), linestyle=":")
    left, right, gap = WIDTH / 2, 6 - WIDTH / 2, HEIGHT / 2
    for level in range(depth - 1):
        _arrow(axes, (left, -level - gap), (left, -level - 1 + gap))
        _arrow(axes, (right, -level - 1 + gap), (right, -level - gap))
    _arrow(axes, (left, 1 - depth - gap), (3 - WIDTH / 2, -depth))
    _arrow(axes, (3 + WIDTH / 2, -depth), (right, 1 - depth - gap))
    _arrow(axes, (-1, 0), (0, 0))
    _arrow(axes, (6, 0), (7, 0))
    axes.text(-1.1, 0, "noisy\nlatents", ha="right", va="center")
    axes.text(7.1, 0, "the noise\nin them", va="center")
    _prompt(axes, depth)
    return chart


def _place(part, depth):
    """Left edge and middle height of a block."""
    return {"down": (0, -part["level"]), "middle": (3 - WIDTH / 2, -depth), "up": (6 - WIDTH, -part["level"])}[
        part["name"]
    ]


def _block(axes, part, x, y):
    box = FancyBboxPatch((x, y - HEIGHT / 2), WIDTH, HEIGHT, "round,pad=0.02", fc="#f1f1f4", ec=INK)
    axes.add_patch(box)
    size = f"{part['side']} x {part['side']}, {part['channels']} wide"
    axes.text(x + WIDTH / 2, y + 0.11, size, ha="center", va="center", fontsize=8, color=INK)
    listens = f"{part['attentions']} x attention" if part["attentions"] else "no attention"
    color = HYPERNETWORK if part["attentions"] else INK
    weight = "bold" if part["attentions"] else "normal"
    axes.text(x + WIDTH / 2, y - 0.14, listens, ha="center", va="center", fontsize=8, color=color, weight=weight)


def _arrow(axes, start, end, linestyle="-"):
    axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": INK, "ls": linestyle})


def _prompt(axes, depth):
    """The prompt from below, and the place on its way where a hypernetwork sits."""
    bottom = -depth - 1.4
    _arrow(axes, (3, bottom + 0.2), (3, -depth - HEIGHT / 2))
    axes.text(3, bottom, "prompt embeddings, heard by every attention", ha="center", va="center")
    axes.plot(3, bottom + 0.55, "D", color=HYPERNETWORK, markersize=9)
    words = "03 A hypernetwork bends here\nwhat every attention hears"
    axes.text(3.25, bottom + 0.55, words, color=HYPERNETWORK, va="center", fontsize=9)
