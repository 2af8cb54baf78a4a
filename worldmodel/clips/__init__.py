"""Clips: stretches of play, true or dreamed, as the viewer and people's own programs read them."""
