"""A stand-in for google.colab, which exists only on Colab: the parts a notebook of ours may call.

It behaves as the source of colabtools does (read on 2026-04-07). The environment says what the person and the school do:
COLAB_DRIVE     "mounted" (the default), "policy" (the school forbids it), "declined", or "unsupported" (Enterprise)
COLAB_UPLOADS   a folder whose files the person chooses in the upload dialog
COLAB_DOWNLOADS a file that gets a line for each download
COLAB_SECRETS   JSON {name: text, or null where this notebook may not read it}
"""
