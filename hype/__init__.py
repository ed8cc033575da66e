"""HyPe: fine-tuning with hidden representation perturbation (ACL 2023)."""
