"""One-shot classification of Omniglot: the official runs, by fine-tuning."""
