"""`.slp` files in: sources, parsing, filters, identity, and the synthetic match generator."""
