"""From a person's photos to squares with captions: opened, checked, cropped, told of consent."""

from helpers.photos import captions, check, consent, crop, folders
from helpers.photos.caption_desk import caption_editor
from helpers.photos.captions import check_captions, read_captions, without, write_captions
from helpers.photos.crop_desk import contact_sheet, crop_editor
from helpers.photos.folders import load_prepared, prepared_folder, split, squares_in
from helpers.photos.open import open_photo
from helpers.photos.preparation import prepare
