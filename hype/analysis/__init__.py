"""What the paper measures on fine-tuned models: probing, similarity, transfer, adversarial. See `__main__`."""
