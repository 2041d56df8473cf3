"""Fine-tuning language models from labels: supervised, by preferences (DPO), by rewards (GRPO)."""
