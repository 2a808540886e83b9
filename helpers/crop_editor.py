"""Choose crops by hand: drag and resize the frame on the photo; sliders where widgets of our own cannot run."""

import ipywidgets as widgets
from PIL import ImageDraw

from helpers import crops, framing
from helpers.photo_open import decode
from helpers.photo_sources import originals
from helpers.widget_host import custom_widgets, jpeg

SHOWN = 720  # pixels of the longer side in the editor


class CropDesk:
    """The photos of a report whose crops can be chosen, and where the choices are kept: folder/crops.json."""

    def __init__(self, report, source, folder, target=0):
        with originals(source) as files:
            self.paths = {row["file"]: files.get(row["file"]) for _, row in report.iterrows() if row["crop"]}
        if not self.paths or not all(path and path.is_file() for path in self.paths.values()):
            raise ValueError("The photos of this report cannot be found: unpack the zip, and give the folder.")
        self.automatic = {row["file"]: tuple(row["crop"]) for _, row in report.iterrows() if row["crop"]}
        self.files, self.folder, self.target = list(self.paths), folder, target

    def show(self, index):
        """Everything an editor shows of the photo at `index` (it wraps round), a dict of plain values and `image`."""
        index %= len(self.files)
        file = self.files[index]
        image, size = decode(self.paths[file], at_least=SHOWN)
        kept = crops.read_crops(self.folder).get(file)
        box = framing.clamp(kept or self.automatic[file], size)
        view = {"file": file, "index": index, "count": len(self.files), "size": list(size), "target": self.target}
        return view | {"box": list(box), "by_hand": kept is not None, "image": image}

    def keep(self, file, box):
        """Keep a box for a photo, or None for the automatic one; what stands in crops.json now, as a list."""
        if file not in self.paths:
            raise ValueError(f"There is no photo {file!r} in this report.")
        size = decode(self.paths[file], at_least=SHOWN)[1]
        kept = crops.write_crop(self.folder, file, box, size)
        return list(kept or framing.clamp(self.automatic[file], size))


def crop_editor(report, source, folder, target=0, sliders=False):
    """A widget to choose the crops of a report by hand; each change is kept at once in folder/crops.json.

    source, folder: as given to photos.prepare, which reads crops.json when it is run again.
    target: pixels a side that the squares need; the editor warns below. sliders: the plain editor in any case.
    Raises ValueError if the photos cannot be found (a zip has to be unpacked first).
    """
    desk = CropDesk(report, source, folder, target)
    if sliders or not custom_widgets():
        return CropSliders(desk)
    from helpers.crop_widget import CropWidget

    return CropWidget(desk)


class CropSliders(widgets.VBox):
    """The editor put together from ipywidgets' own parts, for where nothing else runs."""

    def __init__(self, desk):
        self.desk, self.view, self.loading = desk, None, False
        self.photo = widgets.Dropdown(options=desk.files, description="photo")
        self.edges = [widgets.IntSlider(description=name) for name in ("left", "top", "side")]
        self.picture, self.told = widgets.Image(format="jpeg", width=360), widgets.Label()
        self.reset = widgets.Button(description="Automatic")
        self.photo.observe(lambda _: self.load(), "value")
        self.reset.on_click(lambda _: self.keep(None))
        for slider in self.edges:
            slider.observe(self._moved, "value")
        super().__init__([self.photo, *self.edges, widgets.HBox([self.reset, self.told]), self.picture])
        self.load()

    def load(self):
        """Show the photo that is chosen and set the sliders to its frame."""
        self.view = self.desk.show(self.desk.files.index(self.photo.value))
        width, height = self.view["size"]
        left, top, right, _ = self.view["box"]
        limits = [(0, width, left), (0, height, top), (min(16, width, height), min(width, height), right - left)]
        self.loading = True  # sliders that move now are not moved by hand
        for slider, (low, high, value) in zip(self.edges, limits):
            slider.min, slider.max = min(low, slider.min), max(high, slider.max)
            slider.value = value
            slider.min, slider.max = low, high
        self.loading = False
        self._draw(self.view["box"])

    def keep(self, box):
        """Keep a box, or the automatic one for None, and say so."""
        kept = self.desk.keep(self.photo.value, box)
        self.told.value = f"{'Automatic' if box is None else 'Kept'}: {kept}"
        if box is None:
            self.load()
        self._draw(kept)

    def _moved(self, _):
        if not self.loading:
            left, top, side = (slider.value for slider in self.edges)
            self.keep((left, top, left + side, top + side))

    def _draw(self, box):
        scale = self.view["image"].width / self.view["size"][0]
        shown = self.view["image"].copy()
        for color, inset in (("black", 0), ("white", 3), ("black", 6)):  # seen on any photo
            edges = [round(edge * scale) + step * inset for edge, step in zip(box, (1, 1, -1, -1))]
            ImageDraw.Draw(shown).rectangle(edges, outline=color, width=3)
        self.picture.value = jpeg(shown)
