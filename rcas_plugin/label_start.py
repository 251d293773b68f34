"""Where the slot's own columns and embedding rows start from, before fine-tuning."""
