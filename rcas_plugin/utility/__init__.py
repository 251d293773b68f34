"""Does a swap help? A small classifier with and without the generated images, tested on real ones."""
