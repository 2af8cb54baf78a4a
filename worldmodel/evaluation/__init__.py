"""How good a model is: metrics, held-out evaluation, rollouts, intervals, and the one-page report."""
