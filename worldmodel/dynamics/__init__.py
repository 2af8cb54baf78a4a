"""The one transition: prediction and previous frame in, next frame out; rollouts of it, and the loss that trains it."""
