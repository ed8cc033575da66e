"""The paper's analyses of fine-tuned models: probing, similarity, transfer, adversarial. See `__main__`."""
