def enable_custom_widget_manager(version=""):
    """Lets widgets that are not ipywidgets' own be shown."""
