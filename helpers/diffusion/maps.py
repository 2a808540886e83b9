"""Maps of a U-Net, drawn from its own modules: where the prompt comes in, and what notebooks 03 and 04 change."""

from collections import Counter

from matplotlib.patches import FancyBboxPatch, Rectangle

from helpers.show import COLORS, INK, figures

HYPERNETWORK, DREAMBOOTH = "#a35400", COLORS[2]  # dark enough to read as text, and told apart by shape too
LENSES = ("#e08214", "#3f6fb5", "#4d9a5b", "#a3569c", "#c0504d", "#8a8d98")  # one a width, the text's first
SHAPES = "Dosv^P"  # for those who do not see the colours apart
TEXT = {"ha": "center", "va": "center", "fontsize": 8}


def blocks(unet):
    """One dict a block, in the order in which the latents pass: name, level, side, channels, attentions, contexts.

    side: the latents' height and width inside the block. attentions: layers that attend to the prompt.
    contexts: {width of context: attention layers of that width}.
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
            "contexts": Counter(module.to_k.in_features for module in block.modules() if hasattr(module, "to_k")),
        }
        for name, block, level in modules
    ]


def unet_map(unet):
    """Draw the U-Net: down on the left, up on the right, the prompt from below. Returns a matplotlib Figure."""
    parts, width, height = blocks(unet), 1.9, 0.62
    depth = max(part["level"] for part in parts) + 1
    chart, axes = figures.figure(9, 1.5 + 0.85 * depth)
    axes.set(xlim=(-2.7, 8.7), ylim=(-depth - 1.75, 0.95))
    axes.axis("off")
    axes.add_patch(Rectangle((-0.35, -depth - 0.5), 6.7, depth + 1.1, fill=False, ec=DREAMBOOTH, lw=2.5, ls="--"))
    axes.text(3, 0.72, "04 DreamBooth changes every weight inside this frame", color=DREAMBOOTH, ha="center")
    for part, (x, y) in _draw_u(axes, parts, depth, 6, width, height):
        words = f"{part['attentions']} x attention" if part["attentions"] else "no attention"
        style = {"color": HYPERNETWORK, "weight": "bold"} if part["attentions"] else {"color": INK}
        axes.text(x + width / 2, y + 0.11, _size(part), color=INK, **TEXT)
        axes.text(x + width / 2, y - 0.14, words, **TEXT, **style)
    for level in range(depth):
        _arrow(axes, (width, -level), (6 - width, -level), linestyle=":")
    _arrow(axes, (-1, 0), (0, 0))
    _arrow(axes, (6, 0), (7, 0))
    axes.text(-1.1, 0, "noisy\nlatents", ha="right", va="center")
    axes.text(7.1, 0, "the noise\nin them", va="center")
    _prompt(axes, depth, height)
    return chart


def hypernetwork_map(unet):
    """Draw the U-Net as a U with a mark for each context width: same colour and shape, same pair of networks.

    Returns a matplotlib Figure.
    """
    parts, width, height = blocks(unet), 2.5, 0.8
    text = unet.config.cross_attention_dim
    widths = [text, *sorted({wide for part in parts for wide in part["contexts"]} - {text})]
    depth = max(part["level"] for part in parts) + 1
    chart, axes = figures.figure(9, 1.6 + 0.95 * depth)
    axes.set(xlim=(-0.2, 9.2), ylim=(-depth - 1.9, 0.6))
    axes.axis("off")
    for part, (x, y) in _draw_u(axes, parts, depth, 9, width, height):
        axes.text(x + width / 2, y + 0.2, _size(part), color=INK, **TEXT)
        _marks(axes, part["contexts"], widths, x, y, width)
    for i, wide in enumerate(widths):
        x, y = 9 * i / len(widths), -depth - 1.1
        axes.plot(x + 0.1, y, SHAPES[i % 6], color=LENSES[i % 6], markersize=9)
        kind = "the prompt" if i == 0 else "the picture"
        layers = sum(part["contexts"][wide] for part in parts)
        style = {"va": "center", "fontsize": 8, "color": INK}
        axes.text(x + 0.3, y, f"{kind}, {wide} wide\n{layers} layers share one pair", **style)
    return chart


def _draw_u(axes, parts, depth, span, width, height):
    """Draws boxes and the arrows between them, `span` wide; gives each part with its left edge and middle height."""
    left, right, gap = width / 2, span - width / 2, height / 2
    for level in range(depth - 1):
        _arrow(axes, (left, -level - gap), (left, -level - 1 + gap))
        _arrow(axes, (right, -level - 1 + gap), (right, -level - gap))
    _arrow(axes, (left, 1 - depth - gap), ((span - width) / 2, -depth))
    _arrow(axes, ((span + width) / 2, -depth), (right, 1 - depth - gap))
    edges = {"down": 0, "middle": (span - width) / 2, "up": span - width}
    for part in parts:
        x, y = edges[part["name"]], -depth if part["name"] == "middle" else -part["level"]
        axes.add_patch(FancyBboxPatch((x, y - gap), width, height, "round,pad=0.02", fc="#f1f1f4", ec=INK))
        yield part, (x, y)


def _size(part):
    return f"{part['side']} x {part['side']}, {part['channels']} wide"


def _marks(axes, contexts, widths, x, y, width):
    """One mark for each context width that a block's attention reads, with the number of its layers."""
    here = [wide for wide in widths if contexts[wide]]
    if not here:
        axes.text(x + width / 2, y - 0.17, "no attention", color=INK, **TEXT)
    for i, wide in enumerate(here):
        left, mark = x + 0.2 + 1.2 * i, widths.index(wide) % 6
        axes.plot(left, y - 0.17, SHAPES[mark], color=LENSES[mark], markersize=8)
        axes.text(left + 0.17, y - 0.17, f"{contexts[wide]} x {wide}", va="center", fontsize=8, color=INK)


def _arrow(axes, start, end, linestyle="-"):
    axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": INK, "ls": linestyle})


def _prompt(axes, depth, height):
    """The prompt from below, and the place on its way where a hypernetwork sits."""
    bottom = -depth - 1.4
    _arrow(axes, (3, bottom + 0.2), (3, -depth - height / 2))
    axes.text(3, bottom, "prompt embeddings, read by every attention", ha="center", va="center")
    axes.plot(3, bottom + 0.55, "D", color=HYPERNETWORK, markersize=9)
    words = "03 A hypernetwork bends here\nwhat every attention reads"
    axes.text(3.25, bottom + 0.55, words, color=HYPERNETWORK, va="center", fontsize=9)
