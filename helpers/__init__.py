"""Helpers of the notebooks: the luggage, so that the lesson can stay in the cells."""

import logging

# transformers says at every start that it does without torchvision; so do we, on purpose
logging.getLogger("transformers.utils.import_utils").addFilter(lambda record: "torchvision" not in record.getMessage())
# bitsandbytes, which peft imports, asks on some processors for a package that only its 4-bit products would use
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
