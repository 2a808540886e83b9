"""From a person's photos to squares with captions: opened, checked, cropped, with consent."""

from helpers.photos import captions, check, consent, crop, folders
from helpers.photos.captions import check_captions, read_captions, without, write_captions
from helpers.photos.editors import CaptionEditor, CropEditor, contact_sheet
from helpers.photos.folders import cut_again, load_prepared, prepared_folder, split, squares_in
from helpers.photos.open import open_photo
from helpers.photos.preparation import prepare
