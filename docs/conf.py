"""Sphinx's settings for the course site: `make site` lays its pages out in build/pages and calls Sphinx with these."""

import os

project = "Personalising Stable Diffusion"
author = "The contributors of personalize"
extensions = ["myst_nb"]
exclude_patterns = ["docs/*/**.md"]

nb_execution_mode = "off"  # the notebooks have run
nb_ipywidgets_js = {}  # no widget is alive without a kernel, and these would come from the web
nb_merge_streams = True
myst_heading_anchors = 4  # links to a heading, as GitHub makes them
myst_enable_extensions = []  # a dollar is a dollar
suppress_warnings = ["mystnb.unknown_mime_type"]  # what a widget leaves besides its words

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["course.css"]
html_extra_path = [os.environ.get("SITE_EXTRA", "")]  # the gallery's pictures, the survey's pages
html_copy_source = False
html_show_copyright = False
repository = os.environ.get("SITE_REPOSITORY", "")
html_theme_options = {
    "repository_url": f"https://github.com/{repository}",
    "repository_branch": "main",
    "use_repository_button": True,
    "launch_buttons": {"colab_url": "https://colab.research.google.com"},
    "use_download_button": False,
    "navbar_persistent": [],  # the search field stands above the list of pages
    "home_page_in_toc": True,
    "show_navbar_depth": 2,
    "extra_footer": 'Texts and pictures: <a href="https://creativecommons.org/licenses/by/4.0/">CC BY 4.0</a>. '
    "Code: Apache-2.0.",
}
