"""One fine-tuning run: arguments in, record out."""
