"""How fast this machine is at what we do, beside what it could be and what others were."""
