"""A trained model for other runtimes: one graph that makes a whole frame, what its client must know, and the proof."""
