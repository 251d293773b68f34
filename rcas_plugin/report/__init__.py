"""Reports for a user: the HTML page of a swap, its pictures, and pictures of importance."""
