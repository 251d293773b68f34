"""What a swap is judged by."""
