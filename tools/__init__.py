"""Commands beside the notebooks, started by hand, by make or by `accelerate launch`; helpers never imports them."""
