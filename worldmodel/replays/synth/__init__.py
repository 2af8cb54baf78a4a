"""A small platform fighter that writes valid replays: default data, test data, scale test, counterfactual truth."""
