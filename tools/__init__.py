"""Commands for whoever keeps the suite: no notebook imports them."""
