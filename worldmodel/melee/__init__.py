"""Facts of the game: stages, characters, action states, the controller. Pure data, imports nothing."""
